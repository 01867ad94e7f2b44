//! The driver for open-source nginx: a file with its `upstream {}` blocks, and a reload.
//!
//! One [`FileTarget`] stands for one file of one nginx. It renders a block for each upstream, and when the text differs from what is
//! there it writes the file beside, renames it, has nginx check it, reloads nginx, and looks whether the running nginx really has
//! it. What nginx does not take is put back, and only the upstreams, or the servers, that it does not take are left out. An
//! upstream that has servers is never replaced by an empty one because of that.
//!
//! ```text
//! FileUpstream (one an upstream) ─► writer (one a file): gather ─► render ─► disk ─► check ─► reload ─► proof
//!          ▲                            │
//!          └────────── answer ──────────┘
//! ```

mod attempt;
mod bisect;
mod blame;
mod block;
mod compare;
mod disk;
mod entry;
mod foreign;
pub(crate) mod fuzz;
mod handle;
mod lock;
mod names;
mod nginx;
mod process;
mod proof;
mod reload_interval;
mod round;
mod servers;
mod settings;
mod syntax;
mod table;
mod template;
mod text;
mod unrecorded;
mod wanted;
mod writer;

pub use handle::{FileTarget, FileUpstream};
pub use proof::Proof;
pub use settings::{MIN_RELOAD_INTERVAL, PID, Settings, TIMEOUT};
pub use template::Template;
