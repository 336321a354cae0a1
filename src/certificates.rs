//! Which certificates are trusted: those of a file, and those of the system. Must not know: whom they are checked for.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// What is wrong with the file, as words that follow "cannot be used: ".
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("holds no certificate".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Those that the system trusts and that can be read.
pub fn of_system() -> Vec<CertificateDer<'static>> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::warn!(%error, "a certificate of this system cannot be read and is skipped");
    }
    loaded.certs
}
