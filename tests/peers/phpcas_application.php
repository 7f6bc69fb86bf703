<?php
// An application as PHP people write them: phpCAS in front of a page that says who is there.
// The first path segment names the protocol version, the second what the page asks of CAS.
error_reporting(E_ALL & ~E_DEPRECATED);
$config = json_decode(file_get_contents(getenv('CAS_CLIENT_CONFIG')), true);
[, $version, $page] = explode('/', parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) + ['', '', ''];
if (!in_array($version, ['CAS_VERSION_1_0', 'CAS_VERSION_2_0', 'CAS_VERSION_3_0', 'SAML_VERSION_1_1'], true)) {
    http_response_code(404);
    exit;
}
session_save_path($config['sessions']);
require_once $config['library'];

phpCAS::client(constant($version), '127.0.0.1', $config['cas_port'], '/cas', $config['base_url']);
phpCAS::setCasServerCACert($config['ca_file']);
phpCAS::handleLogoutRequests();

header('Content-Type: application/json');
try {
    switch ($page) {
        case 'private':
            phpCAS::forceAuthentication();
            break;
        case 'again':
            phpCAS::renewAuthentication();
            break;
        case 'open':
            phpCAS::checkAuthentication();
            break;
        case 'look':
            break; // only what the session knows: CAS is not asked
        case 'leave':
            phpCAS::logoutWithRedirectService($config['base_url'] . '/' . $version . '/look');
    }
} catch (CAS_AuthenticationException $refusal) {
    http_response_code(401);
    echo json_encode(['user' => null, 'refused' => true]);
    exit;
}
$known = phpCAS::isSessionAuthenticated();
if ($page === 'look' && $known) {
    phpCAS::isAuthenticated();
}
echo json_encode([
    'user' => $known ? phpCAS::getUser() : null,
    'attributes' => $known ? phpCAS::getAttributes() : null,
]);
