//! The commands, one file for each verb.

pub(crate) mod announce;
pub(crate) mod check;
pub(crate) mod deregister;
pub(crate) mod hold;
pub(crate) mod list;
pub(crate) mod manual;
pub(crate) mod push;
pub(crate) mod register;
pub(crate) mod release;
pub(crate) mod roles;
pub(crate) mod split;
pub(crate) mod status;
pub(crate) mod unit;
pub(crate) mod wait;
pub(crate) mod watch;
