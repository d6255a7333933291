//! The shell over an in-memory store, sound or faulty, and the container checks over hostile bytes.

mod artifacts;
mod cases;
mod checkpoints;
mod claims;
mod collections;
mod conditionings;
mod containers;
mod faulty;
mod lives;
mod multipart;
