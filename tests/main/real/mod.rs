//! This repository's own matrix on real input. Each test takes about a quarter of an hour on two cores and
//! takes all of them, so they run one after the other and beside nothing else.

mod arm64_light;
mod first_light;
mod project;
