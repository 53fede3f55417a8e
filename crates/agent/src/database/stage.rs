//! A file in memory that remembers every write, and whose writes fail as a test says.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use redb::StorageBackend;

/// See the module's purpose. Clones are the same file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage(Arc<Mutex<Scene>>);

#[derive(Debug, Default)]
struct Scene {
    bytes: Vec<u8>,
    writes: Vec<Write>,
    trouble: Trouble,
}

/// One write, in the order of all of them.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Len(usize),
    Bytes(usize, Vec<u8>),
}

/// What is wrong with the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// After so many more writes the disk is full: that one writes half, the others nothing.
    FullAfter(usize),
    /// What is written does not reach the disk, and the disk says so when asked.
    SyncFails,
}

impl Stage {
    /// What a kill after so many writes leaves, the next one half done.
    pub(crate) fn after(writes: &[Write], done: usize) -> Self {
        let mut scene = Scene::default();
        for write in &writes[..done] {
            scene.apply(write.clone());
        }
        if let Some(Write::Bytes(offset, bytes)) = writes.get(done) {
            scene.apply(Write::Bytes(*offset, bytes[..bytes.len() / 2].to_vec()));
        }
        scene.writes.clear();
        Self(Arc::new(Mutex::new(scene)))
    }

    pub(crate) fn set(&self, trouble: Trouble) {
        self.0.lock().trouble = trouble;
    }

    pub(crate) fn is_well(&self) -> bool {
        !matches!(self.0.lock().trouble, Trouble::FullAfter(_))
    }

    pub(crate) fn clear(&self) {
        let mut scene = self.0.lock();
        scene.apply(Write::Len(0));
    }

    /// Damages what was written.
    pub(crate) fn spoil(&self) {
        self.0.lock().bytes.fill(7);
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        self.0.lock().writes.clone()
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.0.lock().trouble == Trouble::SyncFails { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }
}

impl Scene {
    fn apply(&mut self, write: Write) {
        match &write {
            Write::Len(len) => self.bytes.resize(*len, 0),
            Write::Bytes(offset, bytes) => self.bytes[*offset..offset + bytes.len()].copy_from_slice(bytes),
        }
        self.writes.push(write);
    }

    /// How much of a write of so many bytes is done.
    fn admits(&mut self, len: usize) -> usize {
        match &mut self.trouble {
            Trouble::FullAfter(0) => 0,
            Trouble::FullAfter(left) => {
                *left -= 1;
                if *left == 0 { len / 2 } else { len }
            }
            Trouble::None | Trouble::SyncFails => len,
        }
    }
}

impl StorageBackend for Stage {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let scene = self.0.lock();
        let offset = usize::try_from(offset).expect("a small file");
        let bytes = scene.bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut scene = self.0.lock();
        if scene.admits(2) < 2 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        scene.apply(Write::Len(usize::try_from(len).expect("a small file")));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut scene = self.0.lock();
        let done = scene.admits(data.len());
        scene.apply(Write::Bytes(usize::try_from(offset).expect("a small file"), data[..done].to_vec()));
        if done < data.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}
