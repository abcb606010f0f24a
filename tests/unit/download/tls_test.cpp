// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <httplib.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <thread>

#include "kvviz/core/error.hpp"
#include "kvviz/download/http.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::holds;
using test::message_of;

namespace {

/// A certificate for 127.0.0.1 that nobody has signed but itself.
class Certificate {
 public:
  Certificate() : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), x509_(X509_new(), X509_free) {
    X509_set_version(x509_.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509_.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509_.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509_.get()), 3600);
    X509_set_pubkey(x509_.get(), key_.get());
    X509_NAME* name = X509_get_subject_name(x509_.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1,
                               -1, 0);
    X509_set_issuer_name(x509_.get(), name);
    for (const auto& [kind, value] :
         {std::pair(NID_subject_alt_name, "IP:127.0.0.1"), {NID_basic_constraints, "CA:TRUE"}}) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
      X509_add_ext(x509_.get(), extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(x509_.get(), key_.get(), EVP_sha256());
  }
  EVP_PKEY* key() const { return key_.get(); }
  X509* x509() const { return x509_.get(); }
  void write(const std::filesystem::path& file) const {
    FILE* out = std::fopen(file.c_str(), "w");
    PEM_write_X509(out, x509_.get());
    std::fclose(out);
  }

 private:
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  std::unique_ptr<X509, decltype(&X509_free)> x509_;
};

class TlsServer {
 public:
  explicit TlsServer(const Certificate& certificate) : server_(certificate.x509(), certificate.key()) {
    server_.Get("/ok", [](const auto&, auto& response) { response.set_content("secret", "text/plain"); });
    server_.Get("/down", [](const auto&, auto& response) { response.set_redirect("http://127.0.0.1:1/x"); });
    server_.set_keep_alive_timeout(1);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~TlsServer() {
    server_.stop();
    thread_.join();
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  HttpSettings settings() const {
    HttpSettings settings;
    settings.endpoint = parse_url("https://127.0.0.1:" + std::to_string(port_));
    settings.first_pause = std::chrono::milliseconds(1);
    return settings;
  }

 private:
  httplib::SSLServer server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace

TEST_CASE("[download] a certificate that nobody trusts is refused, and accepted when the user trusts it") {
  const Certificate certificate;
  const TlsServer server(certificate);
  HttpSettings settings = server.settings();
  {
    HttpClient client(settings);
    const auto message = message_of<DataError>([&] { client.get("/ok", 100); });
    CHECK(holds(message, "is not trusted"));
    CHECK(holds(message, "SSL_CERT_FILE"));
  }
  const test::TemporaryFolder folder;
  certificate.write(folder / "ca.pem");
  settings.certificates = (folder / "ca.pem").string();
  HttpClient client(settings);
  CHECK(client.get("/ok", 100).body == "secret");
  CHECK(holds(message_of<DataError>([&] { client.get("/down", 100); }), "not encrypted"));
  // The right certificate for another name.
  settings.endpoint.host = "localhost";
  HttpClient other_name(settings);
  CHECK(holds(message_of<DataError>([&] { other_name.get("/ok", 100); }), "is not trusted"));
}
