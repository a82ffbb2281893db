//! How functions, streams and queues hang together: what each edge can't show.
//!
//! ```text
//!     stream.a --on--> function.f --to--> queue.b --on--> function.g --to--> stream.a      refused
//!                          |                 |
//!                     on_failure        dead_letter
//! ```
//!
//! Invariant: data that enters a plan leaves it, since no way leads back to where it came from. A record that went around
//! would never end, and cost ever more.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::block::function::{Edge, Flow};
use crate::diagnostic::Report;
use crate::load::Known;
use crate::{Diagnostic, QueuePlan};

/// Refuses loops, and queues that two functions take messages from.
pub(crate) fn check(functions: &Known<Flow>, queues: &Known<QueuePlan>, report: &mut Report) {
    shared_queues(functions, report);
    loops(functions, queues, report);
}

fn flows(functions: &Known<Flow>) -> impl Iterator<Item = (&String, &Flow)> {
    functions.iter().filter_map(|(name, flow)| Some((name, flow.as_ref()?)))
}

fn shared_queues(functions: &Known<Flow>, report: &mut Report) {
    let mut first: BTreeMap<&str, (&str, &Edge)> = BTreeMap::new();
    for (name, flow) in flows(functions) {
        let Some(on) = flow.on.as_ref().filter(|on| on.target.kind == "queue") else { continue };
        match first.get(on.target.name.as_str()) {
            Some((other, at)) => {
                let message = format!(
                    "functions \"{other}\" and \"{name}\" are both on queue \"{}\": each message would go to one of them, \
                     by chance",
                    on.target.name
                );
                let hint = format!(
                    "give each a queue of its own, or put a stream in front, which both can be on; the first is at {}",
                    at.place
                );
                report.push(Diagnostic::error(message).at(on.place.clone()).hint(hint));
            }
            None => {
                first.insert(&on.target.name, (name, on));
            }
        }
    }
}

/// A block as it is referred to, such as `stream.a`.
type Node = String;

/// What leads from each block to the next.
type Graph<'a> = HashMap<Node, Vec<(Node, Option<&'a Edge>)>>;

fn node(edge: &Edge) -> Node {
    format!("{}.{}", edge.target.kind, edge.target.name)
}

fn graph<'a>(functions: &'a Known<Flow>, queues: &Known<QueuePlan>) -> Graph<'a> {
    let mut graph: Graph<'a> = HashMap::new();
    for (name, flow) in flows(functions) {
        let function = format!("function.{name}");
        if let Some(on) = &flow.on {
            graph.entry(node(on)).or_default().push((function.clone(), None));
        }
        let to = flow.to.iter().filter_map(|(_, edge)| edge.as_ref()).chain(&flow.on_failure);
        graph.entry(function).or_default().extend(to.map(|edge| (node(edge), Some(edge))));
    }
    // A queue's plan knows others by their names on the wire.
    let queues = || queues.iter().filter_map(|(label, queue)| Some((label, queue.as_ref()?)));
    let labels: HashMap<_, _> = queues().map(|(label, queue)| (&queue.name, label)).collect();
    for (label, queue) in queues() {
        let dead = queue.dead_letter.as_ref().and_then(|dead| dead.to.as_ref()).and_then(|to| labels.get(to));
        if let Some(dead) = dead {
            graph.entry(format!("queue.{label}")).or_default().push((format!("queue.{dead}"), None));
        }
    }
    graph
}

fn loops(functions: &Known<Flow>, queues: &Known<QueuePlan>, report: &mut Report) {
    let graph = graph(functions, queues);
    let mut told: BTreeSet<Node> = BTreeSet::new();
    for (name, _) in flows(functions) {
        let start = format!("function.{name}");
        if told.contains(&start) {
            continue;
        }
        let Some(way) = way_back(&graph, &start) else { continue };
        let next = &way[1];
        let edge = graph.get(&start).and_then(|next_of| next_of.iter().find(|(to, _)| to == next)?.1);
        // From what it is on, so that the loop reads as data goes.
        let mut shown: Vec<&str> = way[..way.len() - 1].iter().map(String::as_str).collect();
        shown.rotate_right(1);
        shown.push(shown[0]);
        let dead = shown.windows(2).any(|pair| pair.iter().all(|node| node.starts_with("queue.")));
        let hint = if dead {
            "what was given up must not come back by itself: remove the function, and redrive when the cause is mended"
        } else {
            "what goes around never ends: write to another stream or queue, or remove one of the functions"
        };
        let message = format!("data would flow in a loop: {}", shown.join(" -> "));
        let place = edge.map(|edge| edge.place.clone());
        let mut diagnostic = Diagnostic::error(message).hint(hint);
        diagnostic.place = place;
        report.push(diagnostic);
        told.extend(way);
    }
}

/// Returns the shortest way from a block back to itself, both ends included.
fn way_back(graph: &Graph<'_>, start: &Node) -> Option<Vec<Node>> {
    let mut came_from: HashMap<&Node, &Node> = HashMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        for (next, _) in graph.get(at).into_iter().flatten() {
            if next == start {
                let mut way = vec![start.clone()];
                let mut back = at;
                while back != start {
                    way.push(back.clone());
                    back = came_from.get(back)?;
                }
                way.push(start.clone());
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                open.push_back(next);
            }
        }
    }
    None
}
