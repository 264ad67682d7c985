use std::collections::BTreeSet;
use std::path::PathBuf;

use super::words::Words;
use super::workspace::read;
use super::{CommandError, Global, error, exit};
use crate::buildfile::{AxisValues, Buildfile, Diagnostic, Predicate};
use crate::graph::{self, Graph, Node, Work};
use crate::matrix::Axes;
use crate::runner::{Docker, Published};
use crate::store::LocalStore;
use crate::upstream::{AptRoot, Found, Lock, PlatformImage, Sha256, Updater};

/// Look upstream for new versions and packages, and write them into the lock.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Upstreams and images; all of them by default. Selections such as otp=27 limit which
    /// versions are taken.
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
    let (buildfile, mut lock) = read(global)?;
    let before = lock.clone();
    let store = LocalStore::open(&global.store)?;
    let apt = AptRoot::of_host(store.root().join("apt")).map_err(CommandError::new)?;
    let updater = Updater { store: &store, apt: &apt, distdir: arguments.distdir.clone() };
    check_names(&buildfile, &words)?;
    update_upstreams(&updater, &buildfile, &words, &mut lock)?;
    let graph = whole_graph(&buildfile, &words, &lock)?;
    update_bootstrap_images(&updater, &graph, &words, &mut lock)?;
    update_registry_images(&graph, &words, &mut lock)?;
    let is_news = lock != before;
    if !is_news {
        println!("no news");
    } else if !arguments.dry_run {
        lock.save(&buildfile.dir.join(&buildfile.lock))?;
    }
    Ok(if arguments.exit_code && is_news { exit::SOMETHING_TO_DO } else { exit::OK })
}

fn check_names(buildfile: &Buildfile, words: &Words) -> Result<(), CommandError> {
    let known = || {
        let upstreams = buildfile.upstreams.iter().map(|upstream| upstream.name.as_str());
        upstreams.chain(buildfile.targets.iter().map(|target| target.name.as_str()))
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

fn is_wanted(words: &Words, name: &str) -> bool {
    words.goals.is_empty() || words.goals.iter().any(|goal| goal == name)
}

fn update_upstreams(
    updater: &Updater<'_>,
    buildfile: &Buildfile,
    words: &Words,
    lock: &mut Lock,
) -> Result<(), CommandError> {
    for upstream in buildfile.upstreams.iter().filter(|upstream| is_wanted(words, &upstream.name)) {
        let limits = limits(buildfile, words, &upstream.name);
        let holds = |version: &str| limits.iter().all(|limit| limit.condition.holds(version));
        for news in updater.upstream(upstream, holds, lock)? {
            match news {
                Found::Added(version) => println!("{} {version}: new", upstream.name),
                Found::Unavailable { version, reason } => {
                    println!("{} {version}: listed, but not there: {reason}", upstream.name);
                }
            }
        }
    }
    Ok(())
}

/// What the command line, or else the profile, says of the versions on an upstream's axis.
fn limits<'a>(buildfile: &'a Buildfile, words: &'a Words, upstream: &str) -> Vec<&'a Predicate> {
    let from = AxisValues::Upstream(upstream.to_owned());
    let Some(axis) = buildfile.axes.iter().find(|axis| axis.values == from) else { return Vec::new() };
    let is_limit = |predicate: &&Predicate| predicate.axis == axis.name && predicate.attribute.is_none();
    let own: Vec<_> = words.selection.iter().filter(is_limit).collect();
    match own.is_empty() {
        true => buildfile.choice.iter().map(|(predicate, _)| predicate).filter(is_limit).collect(),
        false => own,
    }
}

fn wanted_nodes<'a>(graph: &'a Graph, words: &Words) -> impl Iterator<Item = &'a Node> {
    let nodes = graph.ids().map(|id| graph.node(id));
    nodes.filter(|node| is_wanted(words, &node.target) || is_wanted(words, &node.name))
}

fn update_bootstrap_images(
    updater: &Updater<'_>,
    graph: &Graph,
    words: &Words,
    lock: &mut Lock,
) -> Result<(), CommandError> {
    for node in wanted_nodes(graph, words) {
        let Work::Bootstrap(image) = &node.work else { continue };
        if updater.image(&node.name, &image.wanted, lock)? {
            let packages = lock.images.get(&node.name).map_or(0, |image| image.closure.packages.len());
            println!("{}: {packages} packages of {}", node.name, image.wanted.suite);
        }
    }
    Ok(())
}

/// Asks each registry once for each name, whatever the number of platforms and nodes.
fn update_registry_images(graph: &Graph, words: &Words, lock: &mut Lock) -> Result<(), CommandError> {
    let images = wanted_nodes(graph, words).flat_map(|node| node.work.registry_images());
    let images: BTreeSet<&PlatformImage> = images.map(|image| &image.image).collect();
    let followed: Vec<_> = images.into_iter().filter(|image| image.reference.pinned().is_none()).collect();
    if followed.is_empty() {
        return Ok(());
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
            tell_and_pin(image, of_name.digest_for(&image.platform)?, lock);
            published = Some(of_name);
        }
        Ok(())
    })
}

fn tell_and_pin(image: &PlatformImage, digest: Sha256, lock: &mut Lock) {
    let PlatformImage { reference, platform } = image;
    match lock.registry.insert(image.clone(), digest) {
        None => println!("{reference} {platform}: sha256:{digest}"),
        Some(before) if before != digest => {
            println!("{reference} {platform}: sha256:{digest}, which was sha256:{before}");
        }
        Some(_) => {}
    }
}

fn whole_graph(buildfile: &Buildfile, words: &Words, lock: &Lock) -> Result<Graph, CommandError> {
    let axes = Axes::resolve(buildfile, lock, &words.selection)?;
    let (graph, warnings) = graph::build(buildfile, &axes, lock)?;
    if words.selection.is_empty() && buildfile.choice.is_empty() {
        warnings.iter().for_each(error::print);
    }
    Ok(graph)
}
