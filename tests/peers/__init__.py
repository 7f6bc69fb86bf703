"""Independent programs talk to a real bridge over HTTP(S): CAS servers, CAS clients, a mail server."""
