"""Speak the SSH connection protocol (RFC 4254) over OpenSSH's control socket: many commands over one master. Private.

The master does the authentication, the encryption and the rekeying. This package does channels, windows and requests.
"""
