//! Gives services and tasks their networks, addresses and ports.
