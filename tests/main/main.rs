//! End-to-end tests: they drive the real program in scratch directories.

mod first_light;
