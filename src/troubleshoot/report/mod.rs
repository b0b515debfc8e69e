//! The server in figures for machines, and on a page for people.

pub mod api;
mod chart;
mod exposition;
mod html;
mod page;
mod sections;
mod store;
mod style;
