use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Listener;
use super::plain;
use super::run_summary::transfers;
use super::words::{human_duration, printable};
use crate::execute::Event;

/// Lines for what has ended, and below them what is running, on a terminal.
pub struct Live {
    screen: MultiProgress,
    total: ProgressBar,
    /// What comes from the shared cache and goes there, once anything does.
    traffic: Option<ProgressBar>,
    running: HashMap<String, ProgressBar>,
    started: Instant,
    estimate: Option<Duration>,
    hits: usize,
    failed: usize,
}

impl Default for Live {
    fn default() -> Self {
        let screen = MultiProgress::new();
        let total = screen.add(ProgressBar::new(0));
        total.set_style(style("{wide_bar:.green/dim} {pos}/{len}{msg}"));
        let (traffic, running, estimate) = (None, HashMap::new(), None);
        Self { screen, total, traffic, running, started: Instant::now(), estimate, hits: 0, failed: 0 }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template is fixed text; the default is what would stand there if it were wrong.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Listener for Live {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::RunStarted { nodes, hits, estimate_ms, .. } => {
                self.hits = *hits;
                self.estimate = estimate_ms.map(Duration::from_millis);
                self.total.set_length((nodes - hits) as u64);
                self.total.enable_steady_tick(Duration::from_secs(1));
            }
            Event::NodeStarted { node, estimate_ms, emulated } => {
                self.start(node, &plain::started(node, *emulated), *estimate_ms);
            }
            Event::NodeWaits { node } => {
                let name = waiting(node);
                self.start(&name, &name, None);
            }
            Event::NodeLine { node, line } => self.say(node, line),
            Event::NodeProgress { node, text } => self.say(node, text),
            Event::NodeRetried { node, error } => self.say(node, &format!("again: {error}")),
            Event::NodeFinished { node, outcome, duration_ms, .. } => {
                self.end(node);
                let (done, to_do) = (self.total.position(), self.total.length().unwrap_or(0));
                self.print(&plain::finished(node, *outcome, *duration_ms, done as usize, to_do as usize));
            }
            Event::NodeFailed { node, .. } => {
                self.failed += 1;
                self.end(node);
                plain::failed(event).iter().for_each(|line| self.print(line));
            }
            Event::NodeSkipped { .. } => self.total.inc(1),
            Event::Notice { text } => self.print(text),
            Event::ResultSent { .. } => {}
            Event::CacheTraffic { traffic, waiting } => self.tell_traffic(&transfers(traffic, *waiting)),
            Event::RunFinished { .. } => {
                self.running.drain().for_each(|(_, bar)| bar.finish_and_clear());
                self.traffic.take().iter().for_each(ProgressBar::finish_and_clear);
                self.total.finish_and_clear();
            }
        }
        self.tell_total();
    }
}

/// What stands for a node whose action is being run already.
fn waiting(node: &str) -> String {
    format!("{node} (the same action is being run)")
}

impl Live {
    fn start(&mut self, node: &str, shown: &str, estimate_ms: Option<u64>) {
        let bar = self.screen.insert_before(&self.total, ProgressBar::new_spinner());
        let usual = estimate_ms.map(|ms| format!(" of {}", human_duration(ms))).unwrap_or_default();
        bar.set_style(style(&format!("{{spinner}} {{elapsed}}{usual} {{prefix}} {{wide_msg:.dim}}")));
        bar.set_prefix(shown.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.running.insert(node.to_owned(), bar);
    }

    fn tell_traffic(&mut self, text: &str) {
        let line = || {
            let bar = self.screen.insert_before(&self.total, ProgressBar::new_spinner());
            bar.set_style(style("{wide_msg}"));
            bar
        };
        self.traffic.get_or_insert_with(line).set_message(text.to_owned());
    }

    fn say(&self, node: &str, text: &str) {
        if let Some(bar) = self.running.get(node) {
            bar.set_message(printable(text));
        }
    }

    fn end(&mut self, node: &str) {
        for name in [node.to_owned(), waiting(node)] {
            if let Some(bar) = self.running.remove(&name) {
                bar.finish_and_clear();
            }
        }
        self.total.inc(1);
    }

    fn print(&self, line: &str) {
        // Nobody reads: the run goes on.
        let _ = self.screen.println(line);
    }

    fn tell_total(&self) {
        let mut text = format!(", {} known", self.hits);
        if self.failed > 0 {
            text.push_str(&format!(", {} failed", self.failed));
        }
        if let Some(left) = self.estimate.and_then(|estimate| estimate.checked_sub(self.started.elapsed())) {
            text.push_str(&format!(", {} left", human_duration(left.as_millis() as u64)));
        }
        self.total.set_message(text);
    }
}
