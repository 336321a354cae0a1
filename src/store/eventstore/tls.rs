//! TLS: which certificates are trusted, and our own. Knows: certificates. Must not know: what crosses the connection.
//!
//! The client crate panics over a file that is not there, over one bad certificate among the system's, and over a
//! TLS provider that another part of the process has installed. So everything it would read is read here first, and
//! it gets one file of certificates that are known to be good: none without TLS.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tempfile::NamedTempFile;

use super::target::TlsChoices;
use crate::certificates;
use crate::store::StoreError;

#[derive(Debug)]
pub(super) struct Tls {
    /// For connections of our own; plain ones do not look at it.
    pub config: ClientConfig,
    /// The file of certificates that the crate trusts.
    pub bundle: NamedTempFile,
}

impl Tls {
    /// Reads every file there is to read.
    ///
    /// # Errors
    /// `Unavailable`, naming the file and what is wrong with it.
    pub(super) fn load(choices: Option<&TlsChoices>) -> Result<Self, StoreError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (ca_file, user_files, verify) = match choices {
            Some(choices) => (choices.ca_file.as_deref(), choices.user_files.as_ref(), choices.verify),
            None => (None, None, true),
        };
        let mut roots = match ca_file {
            Some(path) => certificates(path)?,
            None if verify && choices.is_some() => system_certificates()?,
            None => Vec::new(),
        };
        let mut store = RootCertStore::empty();
        roots.retain(|root| store.add(root.clone()).is_ok());
        if let Some(path) = ca_file.filter(|_| roots.is_empty()) {
            return Err(unusable(path, "holds no certificate that can be trusted"));
        }
        let failed = |error: rustls::Error| StoreError::Unavailable(format!("TLS cannot be used: {error}"));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(store);
        let mut config = match user_files {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(cert)?;
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|_| unusable(key, "holds no private key"))?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|_| unusable(key, "is not the key of the user certificate"))?
            }
        };
        if !verify {
            config.dangerous().set_certificate_verifier(Arc::new(NoVerification(provider)));
        }
        Ok(Self { config, bundle: bundle(&roots)? })
    }
}

/// The crate installs a TLS provider for the whole process when it is first used, and panics if there is another.
///
/// # Errors
/// If there is another.
pub(super) fn check_provider() -> Result<(), StoreError> {
    static IS_FREE: OnceLock<bool> = OnceLock::new();
    match IS_FREE.get_or_init(|| CryptoProvider::get_default().is_none()) {
        true => Ok(()),
        false => Err(StoreError::Unavailable(
            "another part of this process has installed a TLS provider, beside which the client of \
             EventStoreDB cannot work: use the ledger first"
                .to_owned(),
        )),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    certificates::read(path).map_err(|why| unusable(path, &why))
}

fn system_certificates() -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let trusted = certificates::of_system();
    if trusted.is_empty() {
        return Err(StoreError::Unavailable(
            "this system has no certificates to trust: name the file with the cluster's in store.url, tlsCaFile=…"
                .to_owned(),
        ));
    }
    Ok(trusted)
}

fn unusable(path: &Path, why: &str) -> StoreError {
    StoreError::Unavailable(format!("the file {} of store.url cannot be used: {why}", path.display()))
}

fn bundle(roots: &[CertificateDer<'_>]) -> Result<NamedTempFile, StoreError> {
    let failed = |error| StoreError::Unavailable(format!("no file for certificates: {error}"));
    let mut file = tempfile::Builder::new().prefix("grantbook-").suffix(".pem").tempfile().map_err(failed)?;
    let roots: Vec<_> = roots.iter().map(|root| pem::Pem::new("CERTIFICATE", root.as_ref())).collect();
    file.write_all(pem::encode_many(&roots).as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
    Ok(file)
}

/// `tlsVerifyCert=false`: any certificate is trusted, if the handshake is sound.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: TlsChoices = TlsChoices { ca_file: None, user_files: None, verify: true };

    #[test]
    fn files_that_are_wrong_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, text) = (dir.path().join("missing.pem"), dir.path().join("text.pem"));
        std::fs::write(&text, "this is no PEM\n").unwrap();
        for (choices, says) in [
            (TlsChoices { ca_file: Some(missing.clone()), ..EMPTY }, "missing.pem"),
            (TlsChoices { ca_file: Some(text.clone()), ..EMPTY }, "holds no certificate"),
            (TlsChoices { user_files: Some((text, missing)), verify: false, ..EMPTY }, "text.pem"),
        ] {
            let error = Tls::load(Some(&choices)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn without_tls_nothing_is_believed_and_nothing_read() {
        let tls = Tls::load(None).unwrap();
        assert_eq!(std::fs::read(tls.bundle.path()).unwrap(), b"");
    }
}
