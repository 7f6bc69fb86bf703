"""What every page shares: the request's session and language, cookies, security headers, error pages."""
