//! A real identity provider: whose tokens come in, and which do not.
