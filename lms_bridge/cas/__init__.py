"""The CAS server: CAS protocol 1.0, 2.0 and 3.0.3, and SAML 1.1 validation."""
