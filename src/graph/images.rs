//! Nodes that make the trees commands run in.

use super::build::{Builder, node_name};
use super::fault;
use super::*;
use crate::buildfile::{Diagnostic, ImageSource, Target, Template};
use crate::matrix::Cell;
use crate::upstream::{ImageReference, PlatformImage, Wanted};

impl Builder<'_> {
    pub(super) fn image(&mut self, target: &Target, image: &ImageSource, cell: Cell) {
        match self.image_work(target, image, &node_name(&target.name, &cell), &cell) {
            Some((work, inputs, fault)) => {
                let node = Node::new(self.declared(target), cell, work);
                self.add(node.taking(inputs).on(Terms { fault, ..Terms::default() }));
            }
            None => {
                self.refused.insert(target.name.to_string());
            }
        }
    }

    /// `None` if a name of an image is none, which is noted.
    fn image_work(
        &mut self,
        target: &Target,
        image: &ImageSource,
        name: &str,
        cell: &Cell,
    ) -> Option<(Work, Vec<Input>, Option<Diagnostic>)> {
        let filler = self.filler(cell);
        let not_locked = || fault::image_not_locked(&target.span, name);
        Some(match image {
            ImageSource::Bootstrap { suite, arch, foreign, packages } => {
                let (suite, arch) = (filler.text(suite), filler.text(arch));
                let mut foreign = sorted(filler.texts(foreign));
                foreign.retain(|foreign| *foreign != arch);
                let wanted = Wanted { suite, arch, foreign, packages: sorted(filler.texts(packages)) };
                let locked = self.lock.images.get(name).filter(|locked| locked.is_of(&wanted));
                let fault = locked.is_none().then(not_locked);
                let locked = locked.map(|locked| locked.closure.clone());
                let image = BootstrapImage { wanted, locked };
                (Work::Bootstrap(Box::new(image)), Vec::new(), fault)
            }
            ImageSource::Dockerfile { path, context, args, bases, platform } => {
                let dockerfile = filler.text(path);
                let globs = Globs::Written(context.iter().cloned().chain([dockerfile.clone()]).collect());
                let args = args.iter().map(|(name, value)| (name.clone(), filler.text(value))).collect();
                let platform = filler.text(platform);
                let bases = bases.iter().map(|(argument, reference)| {
                    Some((argument.clone(), self.registry_image(target, cell, reference, &platform)?))
                });
                let bases = bases.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?;
                let work = Work::Dockerfile(Box::new(DockerImage { dockerfile, args, bases, platform }));
                let fault = work.lacks_lock().then(not_locked);
                (work, vec![self.files(globs)], fault)
            }
            ImageSource::Registry { reference, platform } => {
                let platform = filler.text(platform);
                let image = self.registry_image(target, cell, reference, &platform)?;
                let work = Work::Registry(Box::new(image));
                let fault = work.lacks_lock().then(not_locked);
                (work, Vec::new(), fault)
            }
        })
    }

    /// The image of a registry that `template` names in this cell; `None` if it names none, which
    /// is noted for the first cell of a target.
    fn registry_image(
        &mut self,
        target: &Target,
        cell: &Cell,
        template: &Template,
        platform: &str,
    ) -> Option<RegistryImage> {
        let text = self.filler(cell).filled(template)?;
        match text.parse::<ImageReference>() {
            Ok(reference) => {
                let image = PlatformImage { reference, platform: platform.to_owned() };
                let locked = self.lock.pinned(&image);
                Some(RegistryImage { image, locked })
            }
            Err(error) => {
                if !self.refused.contains(&*target.name) {
                    self.report.push(Diagnostic::error(&template.span, error.to_string(), "names no image"));
                }
                None
            }
        }
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

impl Work {
    /// Whether it makes an image of something that the lock does not tell.
    pub fn lacks_lock(&self) -> bool {
        match self {
            Self::Bootstrap(image) => image.locked.is_none(),
            work => work.registry_images().iter().any(|image| image.locked.is_none()),
        }
    }
}
