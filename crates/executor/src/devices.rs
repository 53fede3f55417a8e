//! Devices of a node: reserved as named generic resources, and handed to the tasks that were given them.
//!
//! The operator of a node says which device files are units of which kind. The node advertises each unit under the path
//! of its first file, tasks reserve a number of the kind, and the scheduler records which units a task is given. Only
//! the node knows what files a unit is: a task cannot name a path that its node has not made a unit of that kind.

use std::{collections::BTreeMap, fmt, fs, io, os::unix::fs::FileTypeExt as _, str::FromStr};

use swarmkit_api::{
    Task,
    wire::{GenericResource, NamedGenericResource, generic_resource::Resource},
};

use crate::ExecError;

/// One unit of a kind: a device file, and those without which it is of no use.
///
/// As text it is `KIND=PATH[:PERMISSIONS][,PATH[:PERMISSIONS]]…`:
///
/// ```
/// use swarmkit_executor::Device;
///
/// let device: Device = "gpu=/dev/nvidia0,/dev/nvidiactl:rw".parse()?;
/// assert_eq!((device.kind(), device.name()), ("gpu", "/dev/nvidia0"));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    kind: String,
    files: Vec<DeviceFile>,
}

/// A device file, and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceFile {
    /// Where it is on the node, and for the task.
    pub path: String,
    /// Whether the task may read it.
    pub read: bool,
    /// Whether the task may write to it.
    pub write: bool,
    /// Whether the task may make device files of the same device.
    pub mknod: bool,
}

/// The units that a node hands over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices(BTreeMap<String, Vec<Device>>);

// === impl Device ===

impl Device {
    /// The kind of resource that it is a unit of.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it is advertised as: the path of its first file.
    #[must_use]
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |file| &file.path)
    }

    /// Its files, at least one.
    #[must_use]
    pub fn files(&self) -> &[DeviceFile] {
        &self.files
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, files) = text.split_once('=').ok_or_else(|| format!("device {text:?} is not KIND=PATH"))?;
        let kind = kind.trim();
        if kind.is_empty() {
            return Err(format!("device {text:?} is of no kind"));
        }
        let files = files.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { kind: kind.to_owned(), files })
    }
}

// === impl DeviceFile ===

impl FromStr for DeviceFile {
    type Err = String;

    /// A path, and after a last colon what may be done: some of `r`, `w` and `m` (make device files). All if not said.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // Paths of devices have colons of their own.
        let said = text.rsplit_once(':').filter(|(_, may)| !may.is_empty() && may.chars().all(|c| "rwm".contains(c)));
        let (path, may) = said.unwrap_or((text, "rwm"));
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("the path {path:?} of a device is not absolute"));
        }
        let may = |what| may.contains(what);
        Ok(Self { path: path.to_owned(), read: may('r'), write: may('w'), mknod: may('m') })
    }
}

impl DeviceFile {
    /// What may be done, in the letters of container engines.
    #[must_use]
    pub fn permissions(&self) -> String {
        let letters = [('r', self.read), ('w', self.write), ('m', self.mknod)];
        letters.into_iter().filter(|(_, may)| *may).map(|(letter, _)| letter).collect()
    }

    /// Whether there is a device at its path, or a directory of them.
    ///
    /// # Errors
    ///
    /// When there is nothing, or something else.
    fn find(&self) -> io::Result<()> {
        let found = fs::metadata(&self.path)?.file_type();
        if found.is_char_device() || found.is_block_device() || found.is_dir() {
            Ok(())
        } else {
            Err(io::Error::other("it is no device"))
        }
    }
}

impl fmt::Display for DeviceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.permissions())
    }
}

// === impl Devices ===

impl Devices {
    /// The units of a node.
    ///
    /// # Errors
    ///
    /// When two units of a kind have the same name: tasks could not be given one of them.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Result<Self, String> {
        let mut kinds = BTreeMap::<String, Vec<Device>>::new();
        for device in devices {
            let units = kinds.entry(device.kind.clone()).or_default();
            if units.iter().any(|unit| unit.name() == device.name()) {
                return Err(format!("device {}={} is said twice", device.kind, device.name()));
            }
            units.push(device);
        }
        Ok(Self(kinds))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are units of a kind.
    #[must_use]
    pub fn has_kind(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    /// The units whose files are there at this moment, as the node advertises them: by kind, in the order of the
    /// operator. One that was unplugged is not offered to anybody, and is offered again when it is back.
    #[must_use]
    pub fn present(&self) -> Vec<GenericResource> {
        let present = self.0.values().flatten().filter(|device| device.files.iter().all(|file| file.find().is_ok()));
        present.map(|device| named(&device.kind, device.name())).collect()
    }

    /// The units that are not there at this moment, and why, for people.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let files = self.0.values().flatten().flat_map(|device| device.files.iter().map(move |file| (device, file)));
        let missing = files.filter_map(|(device, file)| Some((device, file, file.find().err()?)));
        missing
            .map(|(device, file, error)| format!("{}={}: {}: {error}", device.kind, device.name(), file.path))
            .collect()
    }

    /// The files of the units that a task was given, each path once, in the order of the units. Looks whether they are
    /// there.
    ///
    /// # Errors
    ///
    /// [`ExecError::Rejected`] with the kind and the name, when a unit is none of this node's, or a file of it is not
    /// there. What is of another kind than the devices here concerns nobody.
    pub fn of(&self, task: &Task) -> Result<Vec<DeviceFile>, ExecError> {
        let mut files = Vec::<DeviceFile>::new();
        for given in task.assigned_generic_resources.iter().filter_map(|given| given.resource.as_ref()) {
            let device = match given {
                Resource::NamedResourceSpec(unit) => self.unit(&unit.kind, &unit.value)?,
                Resource::DiscreteResourceSpec(unit) if self.has_kind(&unit.kind) => {
                    let kind = &unit.kind;
                    return Err(ExecError::rejected(format!("was given a number of {kind}, and not which devices")));
                }
                Resource::DiscreteResourceSpec(_) => None,
            };
            for file in device.into_iter().flat_map(Device::files) {
                file.find().map_err(|error| {
                    let kind = device.map(Device::kind).unwrap_or_default();
                    ExecError::rejected(format!("device {} ({kind}) cannot be handed over: {error}", file.path))
                })?;
                match files.iter_mut().find(|known| known.path == file.path) {
                    Some(known) => {
                        known.read |= file.read;
                        known.write |= file.write;
                        known.mknod |= file.mknod;
                    }
                    None => files.push(file.clone()),
                }
            }
        }
        Ok(files)
    }

    fn unit(&self, kind: &str, name: &str) -> Result<Option<&Device>, ExecError> {
        let Some(units) = self.0.get(kind) else { return Ok(None) };
        let unit = units.iter().find(|unit| unit.name() == name);
        unit.map(Some).ok_or_else(|| ExecError::rejected(format!("this node has no device {kind}={name}")))
    }
}

fn named(kind: &str, value: &str) -> GenericResource {
    let unit = NamedGenericResource { kind: kind.to_owned(), value: value.to_owned() };
    GenericResource { resource: Some(Resource::NamedResourceSpec(unit)) }
}

#[cfg(test)]
mod tests;
