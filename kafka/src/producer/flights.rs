//! Which records are in flight, by number: whoever ends a flight first tells of it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What is known of each record in flight.
#[derive(Debug)]
pub struct Flights<T>(Mutex<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    next: usize,
    flying: HashMap<usize, T>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Flights(Mutex::new(Inner { next: 0, flying: HashMap::new() }))
    }
}

impl<T> Flights<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record takes off. Gives the flight's number.
    pub fn begin(&self, flight: T) -> usize {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next = inner.next.wrapping_add(1);
        inner.flying.insert(number, flight);
        number
    }

    /// Ends a flight; none if it has ended already.
    pub fn end(&self, number: usize) -> Option<T> {
        self.lock().flying.remove(&number)
    }

    /// Ends all flights that there still are, in their order.
    pub fn end_all(&self) -> Vec<T> {
        let mut left: Vec<_> = std::mem::take(&mut self.lock().flying).into_iter().collect();
        left.sort_unstable_by_key(|(number, _)| *number);
        left.into_iter().map(|(_, flight)| flight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_ends_once_whoever_ends_it() {
        let flights = Flights::default();
        let numbers = ["a", "b", "c", "d"].map(|name| flights.begin(name));
        assert_eq!(flights.end(numbers[1]), Some("b"));
        assert_eq!(flights.end(numbers[1]), None);
        assert_eq!(flights.end_all(), ["a", "c", "d"]);
        assert_eq!(flights.end(numbers[0]), None);
    }
}
