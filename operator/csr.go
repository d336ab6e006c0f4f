package operator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// CheckCSR returns an error when AWS IoT Core would not sign the PEM certificate signing request, or when the common
// name of its subject is neither empty nor the fan's nor one of its clients'. It is called before a fan is registered,
// and before a new certificate ends the fan's old one. AWS's requirements:
// https://docs.aws.amazon.com/iot/latest/apireference/API_CreateCertificateFromCsr.html
func CheckCSR(csrPEM, fan string, clients ...string) error {
	block, _ := pem.Decode([]byte(csrPEM))
	if block == nil {
		return errors.New("it is not PEM: a certificate signing request begins with -----BEGIN CERTIFICATE REQUEST-----")
	}
	if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return fmt.Errorf("it holds a %.60q, not a CERTIFICATE REQUEST", block.Type)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fmt.Errorf("it is not a certificate signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return fmt.Errorf("its signature is not by its own key: %w", err)
	}
	if name := csr.Subject.CommonName; name != "" && name != fan && !slices.Contains(clients, name) {
		return fmt.Errorf("it is made for %.120q (its subject's common name), not for %s", name, fan)
	}
	const mend = "use RSA of at least 2048 bits, or ECDSA on P-256, P-384 or P-521"
	switch k := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return fmt.Errorf("its RSA key has %d bits: %s", k.N.BitLen(), mend)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return fmt.Errorf("its key is on the curve %s: %s", k.Params().Name, mend)
		}
	default:
		return fmt.Errorf("its key is of type %s: %s", csr.PublicKeyAlgorithm, mend)
	}
	return nil
}
