//! Users and groups of the machine, as its files list them.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// How much of a list of users or groups is read.
const LIST_BYTES_MAX: u64 = 4 << 20;

/// The machine's users and groups: `/etc/passwd` and `/etc/group`, and no other source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Users {
    passwd: String,
    group: String,
}

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name, if the user is listed.
    pub(crate) name: Option<String>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The home directory; `/` for a user that is not listed.
    pub(crate) home: String,
    /// The other groups that the user is listed in.
    pub(crate) groups: Vec<u32>,
}

impl Users {
    /// Reads the machine's files. Where there are none, users and groups are numbers.
    pub(crate) fn read() -> io::Result<Self> {
        let read = |file| match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        };
        Ok(Self { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
    }

    /// Reads those of a root file system, whatever links there are in it. Where there are none, users are numbers.
    pub(crate) fn read_in(root: &Path) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let read = |file: &str| {
            let (flags, within) = (OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, ResolveFlags::IN_ROOT);
            let opened = match rustix::fs::openat2(&root, file, flags, Mode::empty(), within) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(String::new()),
                opened => File::from(opened?),
            };
            let mut bytes = Vec::new();
            opened.take(LIST_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Self { passwd: read("etc/passwd")?, group: read("etc/group")? })
    }

    /// Reads `name`, `uid`, `name:group` or `uid:gid`.
    ///
    /// A user that is only a number need not be listed; its group is then 0, as in containers, unless given.
    pub(crate) fn find(&self, text: &str) -> Result<User, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let mut found = match user.parse() {
            Ok(uid) => self.by_id(uid),
            Err(_) => self.by_name(user).ok_or_else(|| format!("no user {user:?} on this machine"))?,
        };
        if let Some(group) = group {
            found.gid = self.group(group)?;
            found.groups.clear();
        }
        Ok(found)
    }

    /// The user with that id, listed or not.
    pub(crate) fn by_id(&self, uid: u32) -> User {
        let listed = self.passwd.lines().filter_map(|line| self.user(line)).find(|user| user.uid == uid);
        listed.unwrap_or_else(|| User { name: None, uid, gid: 0, home: "/".into(), groups: Vec::new() })
    }

    fn by_name(&self, name: &str) -> Option<User> {
        self.passwd.lines().filter_map(|line| self.user(line)).find(|user| user.name.as_deref() == Some(name))
    }

    /// Reads one line of `/etc/passwd`.
    fn user(&self, line: &str) -> Option<User> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
        Some(User { name: Some(name.to_owned()), uid, gid, home, groups: self.groups_of(name) })
    }

    /// The groups that list `name` as a member.
    fn groups_of(&self, name: &str) -> Vec<u32> {
        let groups = self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let gid = fields.nth(2)?.parse().ok()?;
            fields.next()?.split(',').any(|member| member == name).then_some(gid)
        });
        groups.collect()
    }

    /// The id of a group, by name or number.
    pub(crate) fn group(&self, text: &str) -> Result<u32, String> {
        if let Ok(gid) = text.parse() {
            return Ok(gid);
        }
        let found = self.group.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(text)).then(|| fields.nth(1)?.parse().ok())?
        });
        found.ok_or_else(|| format!("no group {text:?} on this machine"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users {
            passwd: "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/false\nbroken\n".into(),
            group: "root:x:0:\nweb:x:34:\nlogs:x:50:web,other\n".into(),
        }
    }

    #[test]
    fn users_are_found_by_name_and_number_with_their_groups() {
        let web = users().find("web").unwrap();
        assert_eq!((web.uid, web.gid, web.home.as_str(), web.groups.as_slice()), (33, 34, "/srv/web", &[50][..]));
        assert_eq!(users().find("33").unwrap(), web);
        let named = users().find("web:logs").unwrap();
        assert_eq!((named.uid, named.gid, named.groups.len()), (33, 50, 0));
        let numbers = users().find("1234:99").unwrap();
        assert_eq!((numbers.uid, numbers.gid, numbers.home.as_str()), (1234, 99, "/"));
    }

    #[test]
    fn who_is_not_listed_is_named_in_the_error() {
        assert_eq!(users().find("nobody").unwrap_err(), "no user \"nobody\" on this machine");
        assert_eq!(users().find("web:staff").unwrap_err(), "no group \"staff\" on this machine");
    }
}
