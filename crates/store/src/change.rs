//! What a transaction did, object by object.

use std::sync::Arc;

use swarmkit_api::{
    AnyObject, Cluster, Config, Extension, Kind, Network, Node, Object, Resource, Secret, Service, Task, Volume,
};

use crate::Stored;

/// One object before and after it was written. At least one of the two is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit<O> {
    /// What it was. `None` when it was created.
    pub before: Option<Arc<O>>,
    /// What it is. `None` when it was deleted.
    pub after: Option<Arc<O>>,
}

impl<O: Object> Edit<O> {
    /// The object, if it was created.
    #[must_use]
    pub fn created(&self) -> Option<&Arc<O>> {
        if self.before.is_none() { self.after.as_ref() } else { None }
    }

    /// The object before and after, if it was updated.
    #[must_use]
    pub fn updated(&self) -> Option<(&Arc<O>, &Arc<O>)> {
        self.before.as_ref().zip(self.after.as_ref())
    }

    /// What the object was last, if it was deleted.
    #[must_use]
    pub fn deleted(&self) -> Option<&Arc<O>> {
        if self.after.is_none() { self.before.as_ref() } else { None }
    }

    /// The newest form of the object: after the write, or what it was last if it was deleted.
    ///
    /// # Panics
    ///
    /// Never: an edit has a before or an after.
    #[must_use]
    pub fn object(&self) -> &Arc<O> {
        self.after.as_ref().or(self.before.as_ref()).expect("invariant: an edit has a before or an after")
    }

    /// What identifies the object.
    #[must_use]
    pub fn id(&self) -> &O::Id {
        self.object().id()
    }
}

/// Whether an object was created, updated or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It is new.
    Create,
    /// It was there, and is different now.
    Update,
    /// It is gone.
    Remove,
}

macro_rules! change {
    ($($kind:ident),*) => {
        /// One write of an object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Change {
            $(
                #[doc = concat!("A [`", stringify!($kind), "`] was written.")]
                $kind(Edit<$kind>),
            )*
        }

        impl Change {
            /// The kind of the object.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// The id of the object, as text.
            #[must_use]
            pub fn id(&self) -> &str {
                match self { $(Self::$kind(edit) => edit.id().as_str(),)* }
            }

            /// Whether the object was created, updated or deleted.
            #[must_use]
            pub fn action(&self) -> Action {
                match self { $(Self::$kind(edit) => match (&edit.before, &edit.after) {
                    (None, _) => Action::Create,
                    (Some(_), Some(_)) => Action::Update,
                    (Some(_), None) => Action::Remove,
                },)* }
            }

            /// What the object was.
            #[must_use]
            pub fn before(&self) -> Option<AnyObject> {
                match self { $(Self::$kind(edit) => edit.before.clone().map(Object::into_any),)* }
            }

            /// What the object is.
            #[must_use]
            pub fn after(&self) -> Option<AnyObject> {
                match self { $(Self::$kind(edit) => edit.after.clone().map(Object::into_any),)* }
            }
        }
    };
}

change!(Node, Service, Task, Network, Cluster, Secret, Resource, Extension, Config, Volume);

impl Change {
    /// The edit, if it is one of that kind of object.
    #[must_use]
    pub fn as_<O: Stored>(&self) -> Option<&Edit<O>> {
        O::from_change(self)
    }
}
