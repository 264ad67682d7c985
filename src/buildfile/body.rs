//! What the parts of a declaration give and use.

use super::*;

impl Body {
    /// The outputs by name.
    pub fn outputs(&self) -> Vec<&str> {
        match self {
            Self::Image(_) => vec!["root"],
            Self::Command(command) => command.outputs.iter().map(String::as_str).collect(),
            Self::Package(_) => vec!["package"],
            Self::Index(_) => vec!["repository"],
            Self::Publish(_) => Vec::new(),
            Self::Key(_) => vec!["public"],
        }
    }

    /// The names of the targets it uses.
    pub fn references(&self) -> Vec<&str> {
        self.uses().into_iter().map(|reference| reference.name.as_str()).collect()
    }

    /// The targets it uses, each where it is named.
    pub fn uses(&self) -> Vec<&Reference> {
        fn used(input: &InputSource) -> &[Reference] {
            match input {
                InputSource::Target { targets, .. } => targets,
                _ => &[],
            }
        }
        match self {
            Self::Image(_) | Self::Key(_) => Vec::new(),
            Self::Command(command) => {
                let images = match &command.root {
                    Root::Image(images) => images.as_slice(),
                    Root::Host | Root::Bare => &[],
                };
                let inputs = command.inputs.iter().flat_map(|input| used(&input.from));
                let gathered = command.gathers.iter().map(|gather| &gather.target);
                inputs.chain(gathered).chain(images).chain(&command.requires).collect()
            }
            Self::Package(package) => {
                let contents = package.contents.iter().flat_map(|content| used(&content.from));
                let keys = package.parts().into_iter().filter_map(|part| part.sign.as_ref());
                contents.chain(&package.image).chain(keys).chain(&package.requires).collect()
            }
            Self::Index(index) => index.packages.iter().chain(&index.requires).collect(),
            Self::Publish(publish) => {
                let indices = publish.repositories.iter().map(|(index, _)| index);
                indices.chain(&publish.keys).chain(&publish.requires).collect()
            }
        }
    }
}

impl InputSource {
    /// The globs of local files.
    pub(super) fn globs(&self) -> &[Template] {
        match self {
            Self::Files(globs) => globs,
            _ => &[],
        }
    }
}

impl ImageSource {
    /// All texts with holes.
    pub(super) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Bootstrap { suite, arch, foreign, packages } => {
                [suite, arch].into_iter().chain(foreign).chain(packages).collect()
            }
            Self::Dockerfile { path, args, bases, platform, .. } => {
                let values = args.iter().chain(bases).map(|(_, value)| value);
                [path, platform].into_iter().chain(values).collect()
            }
            Self::Registry { reference, platform } => vec![reference, platform],
        }
    }
}

impl Command {
    /// All texts with holes that are of its own cell, without the script.
    pub(super) fn templates(&self) -> Vec<&Template> {
        let places = self.inputs.iter().map(|input| input.place.path());
        let globs = self.inputs.iter().flat_map(|input| input.from.globs());
        places.chain(globs).chain(self.env.iter().map(|(_, value)| &**value)).collect()
    }
}

impl Package {
    /// All texts with holes.
    pub(super) fn templates(&self) -> Vec<&Template> {
        let fixed = [
            &self.format,
            &self.name,
            &self.version,
            &self.architecture,
            &self.maintainer,
            &self.summary,
            &self.description,
            &self.changelog,
        ];
        let contents = self.contents.iter().flat_map(|content| [&content.path, &content.to]);
        let globs = self.contents.iter().flat_map(|content| content.from.globs());
        fixed
            .into_iter()
            .chain(&self.iteration)
            .chain(&self.dist)
            .chain(&self.homepage)
            .chain(self.parts().into_iter().flat_map(PackagePart::templates))
            .chain(contents)
            .chain(globs)
            .collect()
    }
}
