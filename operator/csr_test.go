package operator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"
)

func TestCheckCSRSaysWhatWouldBeRefused(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0") // or the short key could not be made
	short, err1 := rsa.GenerateKey(rand.Reader, 1024)
	long, err2 := rsa.GenerateKey(rand.Reader, 2048)
	p224, err3 := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p256, err4 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edwards, err5 := ed25519.GenerateKey(rand.Reader)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			t.Fatal(err)
		}
	}
	request := func(key crypto.Signer) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	const kind = "CERTIFICATE REQUEST"
	forged := request(p256)
	forged[len(forged)-1] ^= 1
	for _, c := range []struct{ csr, want string }{
		{text(kind, request(p256)), ""},
		{text("NEW "+kind, request(long)), ""},
		{"", "not PEM"},
		{"# fanwatch\n", "not PEM"},
		{text("EC PRIVATE KEY", []byte("x")), `it holds a "EC PRIVATE KEY"`},
		{text(kind, []byte("x")), "not a certificate signing request"},
		{text(kind, forged), "signature"},
		{text(kind, request(short)), "RSA key has 1024 bits"},
		{text(kind, request(p224)), "curve P-224"},
		{text(kind, request(edwards)), "type Ed25519"},
	} {
		err := CheckCSR(c.csr, "fan-07")
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "\n")) {
			t.Errorf("%.60q: %v, want %q", c.csr, err, c.want)
		}
	}
}

// TestACSRThatNamesAnotherFanIsRefused guards against a mistyped fan, whose certificate would end.
func TestACSRThatNamesAnotherFanIsRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"":           "",
		"fan-07":     "",
		"new_Client": "",
		"fan-08":     `it is made for "fan-08" (its subject's common name), not for fan-07`,
		"\x1b[2J":    `it is made for "\x1b[2J" (its subject's common name), not for fan-07`,
	} {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
			key)
		if err != nil {
			t.Fatal(err)
		}
		err = CheckCSR(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), "fan-07",
			"new_Client")
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}
