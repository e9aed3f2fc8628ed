//! From a URL to a storage.
//!
//! Credentials and endpoints come from the environment, as the services' own tools read them, and from options, which
//! win.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use headwater_core::{Error, Options, Result, Storage};
use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path};
use url::Url;

use super::{CountedStorage, Counters, LocalStorage, ObjectStorage, UploadStore};

/// What a URL leads to.
enum Place {
    Disk(PathBuf),
    Store(Arc<dyn UploadStore>, String),
}

/// The storage a URL names: a path of the local disk, `file://`, `memory://name/folder`, and, with the crate's features
/// `aws`, `gcp` and `azure`, `s3://`, `gs://` and `az://`. `options` are those of the service (`region`, `endpoint`,
/// `access_key_id`, …).
///
/// # Errors
/// [`headwater_core::ErrorKind::Invalid`] if the URL or an option is not understood, or the feature is missing.
pub fn storage_for_url(url: &str, options: &Options) -> Result<Arc<dyn Storage>> {
    open(url, options, Arc::default())
}

/// As [`storage_for_url`], with all calls and syncs counted.
///
/// # Errors
/// As [`storage_for_url`].
pub fn counted_storage_for_url(url: &str, options: &Options) -> Result<CountedStorage> {
    let counters = Arc::<Counters>::default();
    let inner = open(url, options, Arc::clone(&counters))?;
    Ok(CountedStorage::new(inner, counters))
}

/// The object store a URL names, and the path in it, for those who read data files. On the local disk the path is
/// that from the root of the file system.
///
/// # Errors
/// As [`storage_for_url`].
pub fn object_store_for_url(url: &str, options: &Options) -> Result<(Arc<dyn ObjectStore>, Path)> {
    match place(url, options)? {
        Place::Disk(root) => {
            let wrong = || Error::invalid(format!("'{url}' is not a path of the local disk"));
            let path = std::path::absolute(&root)
                .map_err(|error| wrong().with_source(error))
                .and_then(|root| {
                    Path::from_absolute_path(root).map_err(|error| wrong().with_source(error))
                })?;
            Ok((Arc::new(LocalFileSystem::new()), path))
        }
        Place::Store(store, prefix) => {
            let path =
                Path::parse(&prefix).map_err(|error| not_understood(url).with_source(error))?;
            Ok((store, path))
        }
    }
}

/// The in-memory object store of this name, one for the whole process: what a query writes to `memory://name/…`, another
/// reads there.
pub fn memory_object_store(name: &str) -> Arc<InMemory> {
    static STORES: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(stores.entry(name.to_owned()).or_default())
}

fn open(url: &str, options: &Options, counters: Arc<Counters>) -> Result<Arc<dyn Storage>> {
    Ok(match place(url, options)? {
        Place::Disk(root) => Arc::new(LocalStorage::open_counted(root, counters)?),
        Place::Store(store, prefix) => Arc::new(ObjectStorage::new(store, &prefix)?),
    })
}

fn place(url: &str, options: &Options) -> Result<Place> {
    if !url.contains("://") {
        options.deny_unknown(&format!("storage '{url}'"), &[])?;
        if url.is_empty() {
            return Err(not_understood(url));
        }
        return Ok(Place::Disk(PathBuf::from(url)));
    }
    let parsed = Url::parse(url).map_err(|error| not_understood(url).with_source(error))?;
    let prefix = || {
        Path::from_url_path(parsed.path())
            .map(String::from)
            .map_err(|error| not_understood(url).with_source(error))
    };
    match parsed.scheme() {
        "file" => {
            options.deny_unknown(&format!("storage '{url}'"), &[])?;
            let path = parsed.to_file_path().map_err(|()| not_understood(url))?;
            Ok(Place::Disk(path))
        }
        "memory" => {
            options.deny_unknown(&format!("storage '{url}'"), &[])?;
            let store = memory_object_store(parsed.host_str().unwrap_or(""));
            Ok(Place::Store(store, prefix()?))
        }
        "s3" | "s3a" => Ok(Place::Store(amazon(url, options)?, prefix()?)),
        "gs" => Ok(Place::Store(google(url, options)?, prefix()?)),
        "az" | "abfs" | "abfss" => Ok(Place::Store(azure(url, options)?, prefix()?)),
        _ => Err(not_understood(url)),
    }
}

fn not_understood(url: &str) -> Error {
    Error::invalid(format!(
        "'{url}' is not a place to store data: write a path, file://, memory://name, s3://bucket, gs://bucket or \
         az://container"
    ))
}

/// Builds a service's store from the environment, the URL and the options.
#[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
macro_rules! service {
    ($builder:ty, $key:ty, $url:expr, $options:expr) => {{
        let mut builder = <$builder>::from_env().with_url($url);
        for (name, value) in $options.iter() {
            let key: $key = snake_case(name)
                .parse()
                .map_err(|error: object_store::Error| {
                    Error::invalid(format!(
                        "storage '{}' does not know the option '{name}': write one of the service, such as endpoint, \
                         region or allow_http",
                        $url
                    ))
                    .with_source(error)
                })?;
            builder = builder.with_config(key, value);
        }
        let store = builder.build().map_err(|error| {
            Error::invalid(format!("cannot use '{}' as a storage", $url)).with_source(error)
        })?;
        Ok(Arc::new(store))
    }};
}

/// `accessKeyId` and `ACCESS_KEY_ID` as the services' option names are written: `access_key_id`.
#[cfg(any(feature = "aws", feature = "gcp", feature = "azure", test))]
fn snake_case(name: &str) -> String {
    let is_camel = name.contains(|c: char| c.is_ascii_lowercase());
    let mut snake = String::new();
    for c in name.chars() {
        if is_camel && c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(any(not(feature = "aws"), not(feature = "gcp"), not(feature = "azure")))]
fn not_built_in(url: &str, feature: &str) -> Error {
    Error::invalid(format!(
        "'{url}' needs a build with the feature '{feature}': switch it on"
    ))
}

#[cfg(feature = "aws")]
fn amazon(url: &str, options: &Options) -> Result<Arc<dyn UploadStore>> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    service!(AmazonS3Builder, AmazonS3ConfigKey, url, options)
}

#[cfg(not(feature = "aws"))]
fn amazon(url: &str, _options: &Options) -> Result<Arc<dyn UploadStore>> {
    Err(not_built_in(url, "aws"))
}

#[cfg(feature = "gcp")]
fn google(url: &str, options: &Options) -> Result<Arc<dyn UploadStore>> {
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
    service!(GoogleCloudStorageBuilder, GoogleConfigKey, url, options)
}

#[cfg(not(feature = "gcp"))]
fn google(url: &str, _options: &Options) -> Result<Arc<dyn UploadStore>> {
    Err(not_built_in(url, "gcp"))
}

#[cfg(feature = "azure")]
fn azure(url: &str, options: &Options) -> Result<Arc<dyn UploadStore>> {
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
    service!(MicrosoftAzureBuilder, AzureConfigKey, url, options)
}

#[cfg(not(feature = "azure"))]
fn azure(url: &str, _options: &Options) -> Result<Arc<dyn UploadStore>> {
    Err(not_built_in(url, "azure"))
}

#[cfg(test)]
mod tests {
    use headwater_core::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn memory_is_shared_by_name_within_the_process() {
        let write = storage_for_url("memory://shared/out", &Options::new()).unwrap();
        write.create("a", "x".into()).await.unwrap();
        let read = storage_for_url("memory://shared", &Options::new()).unwrap();
        assert_eq!(read.read("out/a").await.unwrap(), Some("x".into()));
        let other = storage_for_url("memory://other/out", &Options::new()).unwrap();
        assert_eq!(other.read("a").await.unwrap(), None);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_to_write() {
        let none = Options::new();
        let some: Options = [("region", "x")].into_iter().collect();
        for (url, options, expected) in [
            ("ftp://x/y", &none, "write a path, file://"),
            ("", &none, "write a path, file://"),
            ("data/x", &some, "does not know the option 'region'"),
        ] {
            let error = storage_for_url(url, options).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(error.message().contains(expected), "{error}");
        }
    }

    #[test]
    fn option_names_of_services_are_taken_in_any_spelling() {
        for name in ["access_key_id", "accessKeyId", "ACCESS_KEY_ID"] {
            assert_eq!(snake_case(name), "access_key_id");
        }
    }
}
