//! The search: every world that can come about, and the ways between them.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};

use crate::step::{Kind, Model};
use crate::world::World;

/// A packed world is spread well enough by a few multiplications.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a world is hashed as one number");
    }

    fn write_u128(&mut self, packed: u128) {
        let low = (packed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let high = ((packed >> 64) as u64 ^ 0x55).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = mixed ^ mixed >> 32;
    }
}

const KINDS: [Kind; 3] = [Kind::Settle, Kind::Dial, Kind::Fault];

/// Every reachable world, numbered in the order of its distance from the beginning.
pub(crate) struct Graph {
    worlds: Vec<u128>,
    /// The world from which each one was reached first.
    from: Vec<u32>,
    /// Where each world's edges begin, and where the last one's end.
    first_edge: Vec<usize>,
    /// The number of the next world, with the kind of the step in the two highest bits.
    edges: Vec<u32>,
}

impl Graph {
    pub(crate) fn explore(model: &Model<'_>) -> Self {
        let start = World::new(model.faults);
        let mut numbers: HashMap<u128, u32, BuildHasherDefault<Spread>> = HashMap::default();
        numbers.insert(start.pack(), 0);
        let mut graph =
            Self { worlds: vec![start.pack()], from: vec![0], first_edge: vec![0], edges: Vec::new() };
        let mut steps = Vec::new();
        let mut at = 0;
        while let Some(&packed) = graph.worlds.get(at) {
            let world = World::unpack(packed);
            model.steps(&world, &mut steps);
            for &step in &steps {
                let next = model.after(&world, step);
                let packed = next.pack();
                let number = *numbers.entry(packed).or_insert_with(|| {
                    assert_eq!(World::unpack(packed), next, "each world has one number");
                    graph.worlds.push(packed);
                    graph.from.push(at as u32);
                    graph.worlds.len() as u32 - 1
                });
                graph.edges.push(number | (step.kind() as u32) << 30);
            }
            graph.first_edge.push(graph.edges.len());
            at += 1;
        }
        assert!(graph.len() < 1 << 30, "numbers leave room for the kind");
        graph
    }

    pub(crate) fn len(&self) -> usize {
        self.worlds.len()
    }

    pub(crate) fn world(&self, number: usize) -> World {
        World::unpack(self.worlds[number])
    }

    fn edge(&self, edge: usize) -> (usize, Kind) {
        let bits = self.edges[edge];
        ((bits & 0x3fff_ffff) as usize, KINDS[(bits >> 30) as usize])
    }

    /// What can follow on a world by steps of these kinds.
    pub(crate) fn next(&self, number: usize, kinds: &[Kind]) -> impl Iterator<Item = (usize, Kind)> {
        let edges = self.first_edge[number]..self.first_edge[number + 1];
        edges.map(|edge| self.edge(edge)).filter(|(_, kind)| kinds.contains(kind))
    }

    /// Visits every world behind all that can follow on it by steps of these kinds. If there is a cycle, no
    /// such order exists: the error is a world on one.
    pub(crate) fn ends_first(&self, kinds: &[Kind], mut visit: impl FnMut(usize)) -> Result<(), usize> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            Not,
            OnPath,
            Done,
        }
        let mut seen = vec![Seen::Not; self.len()];
        let mut path: Vec<(usize, usize)> = Vec::new();
        for root in 0..self.len() {
            if seen[root] == Seen::Not {
                seen[root] = Seen::OnPath;
                path.push((root, self.first_edge[root]));
            }
            while let Some((number, edge)) = path.last_mut() {
                if *edge == self.first_edge[*number + 1] {
                    visit(*number);
                    seen[*number] = Seen::Done;
                    path.pop();
                    continue;
                }
                let (next, kind) = self.edge(*edge);
                *edge += 1;
                if !kinds.contains(&kind) {
                    continue;
                }
                match seen[next] {
                    Seen::Not => {
                        seen[next] = Seen::OnPath;
                        path.push((next, self.first_edge[next]));
                    }
                    Seen::OnPath => return Err(next),
                    Seen::Done => {}
                }
            }
        }
        Ok(())
    }

    /// The shortest way to a world from the beginning.
    pub(crate) fn way_to(&self, number: usize) -> Vec<usize> {
        let mut way = vec![number];
        while let Some(&at) = way.last().filter(|at| **at != 0) {
            way.push(self.from[at] as usize);
        }
        way.reverse();
        way
    }

    /// The shortest way of at least one step of these kinds from `start` to a world that `is_end`.
    pub(crate) fn way(
        &self,
        start: usize,
        kinds: &[Kind],
        is_end: impl Fn(usize) -> bool,
    ) -> Option<Vec<usize>> {
        let mut from: HashMap<usize, usize> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for (next, _) in self.next(at, kinds) {
                if is_end(next) {
                    let mut way = vec![next, at];
                    let mut at = at;
                    while at != start {
                        at = from[&at];
                        way.push(at);
                    }
                    way.reverse();
                    return Some(way);
                }
                if next != start && !from.contains_key(&next) {
                    from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// A way in words: each step, and the connections behind it.
    pub(crate) fn tell(&self, model: &Model<'_>, way: &[usize]) -> String {
        let mut told = String::new();
        let mut steps = Vec::new();
        for (place, pair) in way.windows(2).enumerate() {
            let (before, after) = (self.world(pair[0]), self.world(pair[1]));
            model.steps(&before, &mut steps);
            let step = steps.iter().find(|step| model.after(&before, **step) == after);
            let step = step.map_or_else(|| "?".into(), |step| step.tell(&before));
            let connections: Vec<_> = after.connections.iter().map(ToString::to_string).collect();
            let connections = if connections.is_empty() { "nothing".into() } else { connections.join(" | ") };
            let _ = writeln!(told, "{:>4}  {step}\n          {connections}", place + 1);
        }
        told
    }
}
