//! `forge cache` on the shared cache.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::words::Words;
use super::workspace::{Workspace, read, remote, tell_said};
use super::{CommandError, Global, exit};
use crate::digest::Digest;
use crate::plan::{LocalTrees, Plan, Step};
use crate::s3;
use crate::store::{LocalStore, Outputs, RemoteStore, SendError, StatCache};
use crate::ui::{human_bytes, traffic_line};

/// How many results go to and fro beside each other.
const BESIDE: usize = 32;

pub fn stats(global: &Global, json: bool) -> Result<u8, CommandError> {
    let remote = opened(global)?;
    let stats = s3::wait(async move { remote.stats().await })?;
    if json {
        println!("{}", serde_json::to_string_pretty(&stats).map_err(CommandError::new)?);
    } else {
        println!("objects    {:>8}  {}", stats.objects, human_bytes(stats.object_bytes));
        println!("packs      {:>8}  {}", stats.packs, human_bytes(stats.pack_bytes));
        println!("results    {:>8}", stats.results);
        println!("histories  {:>8}", stats.histories);
    }
    Ok(exit::OK)
}

pub fn verify(global: &Global) -> Result<u8, CommandError> {
    let remote = opened(global)?;
    let report = s3::wait(async move { remote.verify().await })?;
    let removed = if report.is_removed { ", removed" } else { "" };
    println!("{} results and {} objects read", report.results, report.objects);
    report.damaged.iter().for_each(|(name, reason)| println!("damaged{removed}: {name}: {reason}"));
    if report.incomplete > 0 {
        println!("{} results name objects that are damaged or gone{removed}", report.incomplete);
    }
    let is_whole = report.damaged.is_empty() && report.incomplete == 0;
    Ok(if is_whole { exit::OK } else { exit::ERROR })
}

pub fn gc(global: &Global, days: u64) -> Result<u8, CommandError> {
    let remote = opened(global)?;
    if !remote.is_written() {
        return Err(CommandError::new("the shared cache is not to be written: nothing was removed"));
    }
    let report = s3::wait(async move { remote.gc(Duration::from_secs(days * 86_400)).await })?;
    let bytes = human_bytes(report.bytes);
    println!("removed {} results and {} objects: {bytes}", report.results, report.objects);
    Ok(exit::OK)
}

/// Sends what is known here of the nodes that are meant and of all that they need.
pub fn push(global: &Global, words: &[String]) -> Result<u8, CommandError> {
    let (workspace, remote, plan) = planned(global, words)?;
    if !remote.is_written() {
        return Err(CommandError::new("the shared cache is not to be written; `write` in its node says so"));
    }
    let is_whole =
        |key: &Digest| workspace.store.result(*key).is_some_and(|one| workspace.store.is_complete(&one));
    let is_shared = |step: &&Step| !workspace.graph.node(step.node).work.is_bare();
    let shared = plan.steps.iter().filter(is_shared);
    let keys: Vec<Digest> = shared.filter_map(|step| step.key()).filter(is_whole).collect();
    let known = keys.len();
    let sender = remote.clone();
    let (mut there, mut failed) = (0, 0);
    let sent = s3::wait(async move {
        let sends = stream::iter(keys).map(|key| {
            let sender = sender.clone();
            async move { sender.send(key).await }
        });
        sends.buffer_unordered(BESIDE).collect::<Vec<_>>().await
    });
    let mut bytes = 0;
    for sent in &sent {
        match sent {
            Ok(sent) if sent.was_there => there += 1,
            Ok(sent) => bytes += sent.bytes,
            Err(SendError::Closed | SendError::Service(_) | SendError::Here(_)) => failed += 1,
        }
    }
    tell_said(&remote);
    let up = known - there - failed;
    println!("{up} results sent, {}; {there} were there", human_bytes(bytes));
    if failed > 0 {
        let first = remote.traffic().first_fault.unwrap_or_default();
        return Err(CommandError::new(format!("{failed} results could not be sent: {first}")));
    }
    Ok(exit::OK)
}

/// Fetches the results of the nodes that are meant, with their objects.
pub fn pull(global: &Global, words: &[String]) -> Result<u8, CommandError> {
    let (workspace, remote, plan) = planned(global, words)?;
    if !remote.is_read() {
        return Err(CommandError::new("the shared cache is not to be read; `read` in its node says so"));
    }
    let goals = plan.goals.iter().filter_map(|goal| plan.step(*goal));
    let hits: Vec<_> = goals.clone().filter(|step| step.verdict.is_hit()).collect();
    let unknown = goals.count() - hits.len();
    let wanted: Vec<(Digest, Outputs)> = hits
        .iter()
        .filter_map(|step| Some((step.key()?, step.outputs.clone()?)))
        .filter(|(_, outputs)| !outputs.trees().all(|tree| workspace.store.holds_tree(tree)))
        .collect();
    let unflushed = workspace.store.flush_later()?;
    let puller = remote.clone();
    let brought = s3::wait(async move {
        let pulls = stream::iter(wanted).map(|(key, outputs)| {
            let puller = puller.clone();
            async move { puller.bring(key, outputs).await }
        });
        pulls.buffer_unordered(BESIDE).collect::<Vec<_>>().await
    });
    drop(unflushed);
    tell_said(&remote);
    let failed: Vec<&String> = brought.iter().filter_map(|brought| brought.as_ref().err()).collect();
    // Small ones came with the plan.
    let fetched = hits.iter().filter(|step| step.key().is_some_and(|key| remote.gave(key))).count();
    let here = hits.len() - fetched - failed.len();
    println!("{fetched} results fetched; {here} were here; {unknown} are not known");
    if let Some(line) = traffic_line(&remote.traffic()) {
        println!("{line}");
    }
    match failed.first() {
        None => Ok(exit::OK),
        Some(first) => {
            Err(CommandError::new(format!("{} results could not be fetched: {first}", failed.len())))
        }
    }
}

fn planned(global: &Global, words: &[String]) -> Result<(Workspace, RemoteStore, Plan), CommandError> {
    let words = Words::parse(words)?;
    let workspace = Workspace::open(global, &words)?;
    let remote = workspace.remote.clone().ok_or_else(none)?;
    let goals = words.nodes(&workspace.graph)?;
    workspace.require_locked(&goals)?;
    let stats = StatCache::of(&workspace.store);
    let files = LocalTrees::new(&stats);
    let plan = workspace.planner(&files).plan(&goals)?;
    workspace.tell_said();
    Ok((workspace, remote, plan))
}

fn opened(global: &Global) -> Result<RemoteStore, CommandError> {
    let (buildfile, _) = read(global)?;
    let store = Arc::new(LocalStore::open(&global.store)?);
    remote(global, &buildfile, &store).ok_or_else(none)
}

fn none() -> CommandError {
    let message =
        "there is no shared cache here: the Buildfile names none, or neither lets it be read nor written";
    CommandError::new(message)
}
