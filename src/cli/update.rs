use std::collections::BTreeSet;
use std::path::PathBuf;

use super::words::Words;
use super::workspace::{read, tell};
use super::{CommandError, Global, exit};
use crate::buildfile::{AxisValues, Buildfile, Diagnostic};
use crate::graph::{self, Graph, Node, Work};
use crate::matrix::{Axes, selection_on};
use crate::runner::{Docker, Published};
use crate::store::LocalStore;
use crate::ui;
use crate::upstream::{Ask, Lock, PlatformImage, Sha256, Updater};

/// Look upstream for new versions and packages, and write them into the lock.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Upstreams and images; all of them by default. A selection such as otp=26.2.5.3 adds that
    /// version, and upstreams and images that the lock does not know.
    words: Vec<String>,
    /// Write nothing, only tell.
    #[arg(long)]
    dry_run: bool,
    /// End with 2 if there is news, with 0 if not.
    #[arg(long)]
    exit_code: bool,
    /// A directory with archives that were fetched by other means.
    #[arg(long, value_name = "DIR")]
    distdir: Option<PathBuf>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let words = Words::parse(&arguments.words)?;
    let (buildfile, before) = read(global)?;
    let store = LocalStore::open(&global.store)?;
    check_names(&buildfile, &words)?;
    let mut lock = before.clone();
    let told = update(&buildfile, &store, arguments.distdir.clone(), &words, &mut lock)?;
    print!("{told}");
    let is_news = lock != before;
    match (is_news, arguments.dry_run) {
        (false, _) => println!("no news"),
        (true, true) => println!("{} is left as it is", buildfile.lock.display()),
        (true, false) => {
            lock.save(&buildfile.dir.join(&buildfile.lock))?;
            println!("{} is written", buildfile.lock.display());
        }
    }
    Ok(if arguments.exit_code && is_news { exit::SOMETHING_TO_DO } else { exit::OK })
}

/// Brings `lock` up to what is upstream now, for what `words` name, and tells what is new. If it
/// fails, `lock` is of no use.
pub fn update(
    buildfile: &Buildfile,
    store: &LocalStore,
    distdir: Option<PathBuf>,
    words: &Words,
    lock: &mut Lock,
) -> Result<String, CommandError> {
    let updater = Updater::new(store, buildfile.dir.to_path_buf(), distdir, &tell);
    let upstreams = update_upstreams(&updater, buildfile, words, lock)?;
    let images = update_images(&updater, buildfile, words, lock)?;
    Ok(upstreams + &images)
}

fn check_names(buildfile: &Buildfile, words: &Words) -> Result<(), CommandError> {
    let known = || {
        let upstreams = buildfile.upstreams.iter().map(|upstream| upstream.name.as_str());
        upstreams.chain(buildfile.targets.iter().map(|target| &*target.name))
    };
    for goal in &words.goals {
        let target = goal.split('[').next().unwrap_or(goal);
        if !known().any(|name| name == target) {
            let message = format!("there is no upstream or image '{goal}'");
            return Err(Diagnostic::placeless(message).suggest(goal, known()).into());
        }
    }
    Ok(())
}

/// Upstreams are meant by their names and by selections of their versions; all of them, if no
/// word is either. A selection also means those that the lock knows nothing of: without them
/// nothing can be planned.
fn is_wanted(words: &Words, buildfile: &Buildfile, name: &str, lock: &Lock) -> bool {
    if words.goals.is_empty() && lock.versions(name).is_empty() {
        return true;
    }
    let is_of = |axis: &str| versions_axis(buildfile, name).is_some_and(|of| of == axis);
    let is_named = words.goals.iter().any(|goal| goal == name);
    is_named || words.selection.iter().any(|p| is_of(&p.axis)) || names_nothing(words, buildfile)
}

/// Whether no word names an upstream, an image or a version.
fn names_nothing(words: &Words, buildfile: &Buildfile) -> bool {
    let is_version = |axis: &str| {
        let axis = buildfile.axis(axis);
        axis.is_some_and(|axis| matches!(axis.values, AxisValues::Upstream(_)))
    };
    words.goals.is_empty() && !words.selection.iter().any(|predicate| is_version(&predicate.axis))
}

/// The axis that an upstream's versions stand on.
fn versions_axis<'a>(buildfile: &'a Buildfile, upstream: &str) -> Option<&'a str> {
    let is_it = |values: &AxisValues| matches!(values, AxisValues::Upstream(from) if from == upstream);
    buildfile.axes.iter().find(|axis| is_it(&axis.values)).map(|axis| axis.name.as_str())
}

fn update_upstreams(
    updater: &Updater<'_>,
    buildfile: &Buildfile,
    words: &Words,
    lock: &mut Lock,
) -> Result<String, CommandError> {
    let mut told = String::new();
    for upstream in &buildfile.upstreams {
        if !is_wanted(words, buildfile, &upstream.name, lock) {
            continue;
        }
        let axis = versions_axis(buildfile, &upstream.name);
        let selection = axis.map(|axis| selection_on(axis, buildfile, &words.selection)).unwrap_or_default();
        let ask = if selection.is_empty() { Ask::Policy } else { Ask::Selection(selection) };
        told += &ui::change_summary(&updater.upstream(upstream, &ask, lock)?);
    }
    Ok(told)
}

/// What images are made of, and which images of registries they are. Where versions alone are asked for, an
/// image stays what it is, and those of the selection that the lock does not know come into it.
fn update_images(
    updater: &Updater<'_>,
    buildfile: &Buildfile,
    words: &Words,
    lock: &mut Lock,
) -> Result<String, CommandError> {
    let is_of_upstreams = words.goals.iter().all(|goal| buildfile.upstream(goal).is_some());
    if !words.goals.is_empty() && is_of_upstreams {
        return Ok(String::new());
    }
    let graph = whole_graph(buildfile, words, lock)?;
    let is_named =
        |node: &Node| words.goals.iter().any(|goal| **goal == *node.declared.target || *goal == node.name());
    let is_wanted = |node: &&Node| match (names_nothing(words, buildfile), words.goals.is_empty()) {
        (true, _) => true,
        (false, true) => node.work.lacks_lock(),
        (false, false) => is_named(node),
    };
    let nodes: Vec<&Node> = graph.ids().map(|id| graph.node(id)).filter(is_wanted).collect();
    let told = update_bootstrap_images(updater, &nodes, lock)?;
    Ok(told + &update_registry_images(&nodes, lock)?)
}

fn update_bootstrap_images(
    updater: &Updater<'_>,
    nodes: &[&Node],
    lock: &mut Lock,
) -> Result<String, CommandError> {
    let mut told = String::new();
    for node in nodes {
        let Work::Bootstrap(image) = &node.work else { continue };
        let name = node.name();
        tell(&format!("{name}: resolving"));
        if updater.image(&name, &image.wanted, lock)? {
            let packages = lock.images.get(&name).map_or(0, |image| image.closure.packages.len());
            told += &format!("{name}: {packages} packages of {}\n", image.wanted.suite);
        }
    }
    Ok(told)
}

/// Asks each registry once for each name, whatever the number of platforms and nodes.
fn update_registry_images(nodes: &[&Node], lock: &mut Lock) -> Result<String, CommandError> {
    let images = nodes.iter().flat_map(|node| node.work.registry_images());
    let images: BTreeSet<&PlatformImage> = images.map(|image| &image.image).collect();
    let followed: Vec<_> = images.into_iter().filter(|image| image.reference.pinned().is_none()).collect();
    let mut told = String::new();
    if followed.is_empty() {
        return Ok(told);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let docker = Docker::open().await?;
        let mut published: Option<Published> = None;
        for image in followed {
            let of_name = match published.take().filter(|published| published.reference == image.reference) {
                Some(published) => published,
                None => docker.ask_registry(&image.reference).await?,
            };
            told += &pin(image, of_name.digest_for(&image.platform)?, lock);
            published = Some(of_name);
        }
        Ok(told)
    })
}

fn pin(image: &PlatformImage, digest: Sha256, lock: &mut Lock) -> String {
    let PlatformImage { reference, platform } = image;
    match lock.registry.insert(image.clone(), digest) {
        None => format!("{reference} {platform}: sha256:{digest}\n"),
        Some(before) if before != digest => {
            format!("{reference} {platform}: sha256:{digest}, which was sha256:{before}\n")
        }
        Some(_) => String::new(),
    }
}

fn whole_graph(buildfile: &Buildfile, words: &Words, lock: &Lock) -> Result<Graph, CommandError> {
    let axes = Axes::resolve(buildfile, lock, &words.selection)?;
    // What is odd about the matrix is told by a plan.
    Ok(graph::build(buildfile, &axes, lock)?.0)
}
