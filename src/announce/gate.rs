//! The gate between single verdicts of a probe and the backend's health: pure.

use serde::{Deserialize, Serialize};

/// Whether a backend works, according to its probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// It works.
    Up,
    /// It does not, or that is not known yet.
    Down,
}

/// Changes the health only after enough verdicts in a row. It starts *down*: a backend must prove itself before it is
/// announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    rise: u32,
    fall: u32,
    health: Health,
    /// Verdicts in a row against the current health.
    against: u32,
}

impl Gate {
    /// A gate that opens after `rise` passes in a row and closes after `fall` failures in a row.
    /// Zero counts as one.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            health: Health::Down,
            against: 0,
        }
    }

    /// Changes the thresholds; the health and the verdicts so far stay.
    pub fn tune(&mut self, rise: u32, fall: u32) {
        self.rise = rise.max(1);
        self.fall = fall.max(1);
    }

    /// Treats the backend as up until the first verdict: one failure closes the gate.
    pub fn presume_up(&mut self) {
        self.health = Health::Up;
        self.against = self.fall - 1;
    }

    /// Treats the backend as up, without probes.
    pub fn assume_up(&mut self) {
        self.health = Health::Up;
        self.against = 0;
    }

    /// The current health.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Adds a verdict; returns the new health if it changed.
    pub fn observe(&mut self, passed: bool) -> Option<Health> {
        let (threshold, other) = match self.health {
            Health::Up => (self.fall, Health::Down),
            Health::Down => (self.rise, Health::Up),
        };
        if passed == (self.health == Health::Up) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < threshold {
            return None;
        }
        self.against = 0;
        self.health = other;
        Some(other)
    }

    /// How many verdicts in a row are against the current health, and how many it takes.
    #[must_use]
    pub fn progress(&self) -> (u32, u32) {
        match self.health {
            Health::Up => (self.against, self.fall),
            Health::Down => (self.against, self.rise),
        }
    }
}

#[cfg(test)]
mod tests;
