//! The relay against models of both sides.

mod harness;
mod random;
mod rules;
