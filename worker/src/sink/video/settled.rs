//! Which files are closed for good: no restart changes them any more.

/// The last segment that was closed when the state was sealed, and in the state that is committed: a file that a commit
/// wants to go on with has to be there, and stay as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settled {
    sealed: u64,
    committed: u64,
}

impl Settled {
    /// The state is taken up in which this is the last closed segment.
    pub fn at(closed: u64) -> Self {
        Settled { sealed: closed, committed: closed }
    }

    /// The state is sealed in which this is the last closed segment.
    pub fn seal(&mut self, closed: u64) {
        self.sealed = closed;
    }

    /// What was sealed is committed.
    pub fn commit(&mut self) {
        self.committed = self.sealed;
    }

    /// The last closed segment of the committed state.
    pub fn committed(&self) -> u64 {
        self.committed
    }
}
