package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"fanwatch/edge"
)

const checkHelp = `fanwatch-edge check tries everything that run needs, without publishing anything, and says of each thing that is
wrong how to mend it. The exit status is 1 when something is wrong.

  fanwatch-edge check --config fan-21.yaml
` + configHelp

// finding is the outcome of one check: nil is well; mend says what to do otherwise.
type finding struct {
	what string
	err  error
	mend string
}

func check(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flags("check", checkHelp, errs)
	path := f.String("config", "", "the configuration `file`")
	if err := parse(f, args, out); err != nil {
		return err
	}
	if *path == "" {
		return wrong(f, "needs --config FILE")
	}
	configs, err := load(*path)
	if err != nil {
		return err
	}
	bad, all := 0, 0
	for _, c := range configs {
		if len(configs) > 1 {
			fmt.Fprintf(out, "%s\n", c.Fan)
		}
		for _, one := range []func(context.Context, config) finding{checkSource, checkClock, checkKey, checkCertificate, checkPair, checkSpool, checkName, checkHandshake} {
			all++
			found := one(ctx, c)
			if found.err == nil {
				fmt.Fprintf(out, "ok     %s\n", found.what)
				continue
			}
			bad++
			fmt.Fprintf(out, "WRONG  %s: %v\n       %s\n", found.what, found.err, found.mend)
		}
	}
	if bad > 0 {
		return fmt.Errorf("check: %d of %d things are wrong", bad, all)
	}
	return nil
}

func checkSource(_ context.Context, c config) finding {
	f := finding{what: "tacho: simulated"}
	if c.Source.GPIO != nil {
		f.what = "tacho: line " + c.Source.GPIO.Line
		f.mend = "Choose a line that gpioinfo lists as unused, and let this user into the group gpio."
	} else {
		f.mend = "Mend source.sim in the configuration."
	}
	conf := edge.Config{Clock: edge.System()}
	stop, err := c.open(&conf)
	if f.err = err; err == nil {
		stop()
	}
	return f
}

func checkClock(context.Context, config) finding {
	f := finding{what: "clock: " + time.Now().UTC().Format(time.RFC3339),
		mend: "Set it, or switch NTP on: timedatectl set-ntp true. Readings are marked until then."}
	if time.Now().Before(edge.Reference()) {
		f.err = errors.New("is behind the making of this program")
	}
	return f
}

func checkKey(_ context.Context, c config) finding {
	f := finding{what: "key: " + c.Key, mend: "Make one with: fanwatch-edge enroll --fan " + c.Fan + " --dir DIR"}
	st, err := os.Stat(c.Key)
	if f.err = err; err != nil {
		return f
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		f.err, f.mend = fmt.Errorf("mode %o lets others read it", mode), "chmod 600 "+c.Key
		return f
	}
	_, f.err = os.ReadFile(c.Key)
	return f
}

func checkCertificate(_ context.Context, c config) finding {
	f := finding{what: "certificate: " + c.Cert, mend: "Fetch it with: fanwatch provision " + c.Fan + " --csr " + c.Fan + ".csr --out " + c.Fan + ".pem"}
	b, err := os.ReadFile(c.Cert)
	if f.err = err; err != nil {
		return f
	}
	block, _ := pem.Decode(b)
	if block == nil {
		f.err = errors.New("is not PEM")
		return f
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if f.err = err; err != nil {
		return f
	}
	f.what += ", until " + cert.NotAfter.UTC().Format(time.DateOnly)
	now := time.Now()
	switch {
	case now.After(cert.NotAfter):
		f.err = fmt.Errorf("has expired on %s", cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore) && now.After(edge.Reference()):
		f.err, f.mend = fmt.Errorf("begins on %s only", cert.NotBefore.UTC().Format(time.RFC3339)), "See whether the clock is right."
	}
	return f
}

func checkPair(_ context.Context, c config) finding {
	_, err := edge.TLSConfig(c.CA, c.Cert, c.Key, nil)
	return finding{"certificate, key and root CA belong together", err, "Provision with the request that enroll made on this device; the root CA is the broker's, for AWS AmazonRootCA1.pem."}
}

func checkSpool(_ context.Context, c config) finding {
	f := finding{what: "spool: " + c.Spool, mend: "Give this user a directory that it may write to."}
	if f.err = os.MkdirAll(c.Spool, 0o700); f.err != nil {
		return f
	}
	probe, err := os.CreateTemp(c.Spool, ".check-*")
	if f.err = err; err != nil {
		return f
	}
	_, err = probe.Write(make([]byte, 4096))
	f.err = errors.Join(err, probe.Close(), os.Remove(probe.Name()))
	return f
}

func checkName(ctx context.Context, c config) finding {
	f := finding{what: "broker: " + c.Broker, mend: "Write the endpoint as aws iot describe-endpoint --endpoint-type iot:Data-ATS gives it, with :8883, and see that DNS works."}
	host, _, err := net.SplitHostPort(c.Broker)
	if f.err = err; err != nil {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, f.err = net.DefaultResolver.LookupHost(ctx, host)
	return f
}

func checkHandshake(ctx context.Context, c config) finding {
	f := finding{what: "TLS with " + c.Broker, mend: "See that port 8883 is open to the outside, the root CA is the broker's and the certificate is active."}
	conf, err := edge.TLSConfig(c.CA, c.Cert, c.Key, nil)
	if err != nil {
		f.err, f.mend = errors.New("not tried without certificate, key and root CA"), "Mend those first."
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: conf}
	conn, err := dialer.DialContext(ctx, "tcp", c.Broker)
	if f.err = err; err != nil {
		return f
	}
	defer conn.Close()
	// In TLS 1.3 a refused client certificate shows only when something is read. A broker that is content
	// waits for us to speak.
	if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		f.err = err
		return f
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
		f.err = fmt.Errorf("the broker hangs up: %w", err)
	}
	return f
}
