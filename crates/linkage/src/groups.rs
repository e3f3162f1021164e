//! Which records are one person so far.

use std::collections::HashMap;

use crate::people::{Index, Review};
use crate::records::{NUMBERS, Records, Text};
use crate::sure::agreement;

/// A union of records into groups, and what keeps groups apart.
pub(crate) struct Groups {
    parent: Vec<usize>,
    /// By group: the services that hold it once, the national numbers, and records that are somebody else.
    once: Vec<Vec<u16>>,
    numbers: Vec<[Text; NUMBERS]>,
    apart: HashMap<usize, Vec<usize>>,
}

impl Groups {
    pub(crate) fn new(records: &Records, once: &[u16]) -> Self {
        let service = |service: &u16| once.iter().copied().filter(|s| s == service).collect();
        Self {
            parent: (0..records.len()).collect(),
            once: records.services().iter().map(service).collect(),
            numbers: records.numbers(),
            apart: HashMap::new(),
        }
    }

    pub(crate) fn find(&mut self, mut at: usize) -> usize {
        while let Some(parent) = self.parent.get(at).copied().filter(|parent| *parent != at) {
            let above = self.parent.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parent.get_mut(at) {
                *slot = above;
            }
            at = above;
        }
        at
    }

    /// Two records that are two people.
    pub(crate) fn keep_apart(&mut self, one: usize, other: usize) {
        self.apart.entry(one).or_default().push(other);
        self.apart.entry(other).or_default().push(one);
    }

    /// Whether two records are two groups that nobody has said are two people.
    pub(crate) fn are_open(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.find(one), self.find(other));
        one != other && !self.are_apart(one, other)
    }

    fn are_apart(&mut self, one: usize, other: usize) -> bool {
        let apart = self.apart.get(&one).cloned().unwrap_or_default();
        apart.into_iter().any(|record| self.find(record) == other)
    }

    /// Makes two groups one, unless a service would hold the person twice, two numbers would be one person's, or somebody
    /// says that they are two.
    pub(crate) fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        if one == other || self.are_apart(one, other) {
            return;
        }
        let twice = match (self.once.get(one), self.once.get(other)) {
            (Some(a), Some(b)) => a.iter().any(|service| b.contains(service)),
            _ => true,
        };
        let differ = match (self.numbers.get(one), self.numbers.get(other)) {
            (Some(a), Some(b)) => agreement(a, b).1,
            _ => true,
        };
        if !twice && !differ {
            self.merge(one, other);
        }
    }

    /// As [`Groups::join`], where somebody has looked: a number may be mistyped, and a service may hold a person twice.
    pub(crate) fn join_decided(&mut self, one: usize, other: usize) {
        if self.are_open(one, other) {
            let (one, other) = (self.find(one), self.find(other));
            self.merge(one, other);
        }
    }

    fn merge(&mut self, one: usize, other: usize) {
        let (first, second) = (one.min(other), one.max(other));
        if let Some(slot) = self.parent.get_mut(second) {
            *slot = first;
        }
        let services = self.once.get_mut(second).map(std::mem::take).unwrap_or_default();
        if let Some(of) = self.once.get_mut(first) {
            of.extend(services);
        }
        let numbers = self.numbers.get(second).copied().unwrap_or_default();
        for (of, number) in self.numbers.get_mut(first).into_iter().flatten().zip(numbers) {
            *of = if *of == 0 { number } else { *of };
        }
        if let Some(apart) = self.apart.remove(&second) {
            self.apart.entry(first).or_default().extend(apart);
        }
    }

    /// Joins what is left between two services that hold each person once, where neither record has another candidate:
    /// a twin would have his own.
    pub(crate) fn join_alone(&mut self, services: &[u16], once: &[u16], review: &[Review]) {
        let mut candidates: HashMap<usize, usize> = HashMap::new();
        for pair in review {
            *candidates.entry(pair.one).or_default() += 1;
            *candidates.entry(pair.other).or_default() += 1;
        }
        let single = |at: usize| services.get(at).is_some_and(|service| once.contains(service));
        for Review { one, other, .. } in review.iter().copied() {
            let alone = |at: usize| candidates.get(&at) == Some(&1);
            if single(one) && single(other) && alone(one) && alone(other) {
                self.join(one, other);
            }
        }
    }

    pub(crate) fn index(mut self, review: Vec<Review>) -> Index {
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let people: Vec<usize> = (0..self.parent.len())
            .map(|at| {
                let root = self.find(at);
                let next = numbers.len();
                *numbers.entry(root).or_insert(next)
            })
            .collect();
        Index { people, count: numbers.len(), review }
    }
}
