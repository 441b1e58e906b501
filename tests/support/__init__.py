"""What tests share: servers, sessions, sites, catalogues."""
