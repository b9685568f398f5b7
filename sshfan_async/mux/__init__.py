"""The SSH connection protocol (RFC 4254) through OpenSSH's control socket: many commands over one master. Private.

The master does keys, cryptography and rekeying in its own process; here are channels, windows and requests.
"""
