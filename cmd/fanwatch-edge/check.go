package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"fanwatch/edge"
)

const checkHelp = `fanwatch-edge check tries everything that run needs, without publishing anything, and says of each
thing that is wrong how to mend it. The exit status is 1 when something is wrong. Run it as the user that run will
have (sudo -u fanwatch ...), and before the service is started: a running one holds the line, and loses its connection
once.

  fanwatch-edge check --config fan-21.yaml
  fanwatch-edge check --config fan-21.yaml --json    one object a line: {"fan","check","ok","error","mend"}
` + configHelp

// finding is the outcome of one check: nil is well; mend says what to do otherwise.
type finding struct {
	what string
	err  error
	mend string
}

// print tells the finding to a person, or to a program as a line of JSON.
func (f finding) print(out io.Writer, fan string, asJSON bool) error {
	var err error
	switch {
	case asJSON:
		line := struct {
			Fan   string `json:"fan"`
			Check string `json:"check"`
			OK    bool   `json:"ok"`
			Error string `json:"error,omitempty"`
			Mend  string `json:"mend,omitempty"`
		}{Fan: fan, Check: f.what, OK: f.err == nil}
		if f.err != nil {
			line.Error, line.Mend = f.err.Error(), f.mend
		}
		err = json.NewEncoder(out).Encode(line)
	case f.err == nil:
		_, err = fmt.Fprintf(out, "ok     %s\n", f.what)
	default:
		_, err = fmt.Fprintf(out, "WRONG  %s: %v\n       %s\n", f.what, f.err, f.mend)
	}
	return err
}

func check(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flags("check", checkHelp, errs)
	path := f.String("config", "", "the configuration `file`")
	asJSON := f.Bool("json", false, "print JSON, one object a line")
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
		if len(configs) > 1 && !*asJSON {
			fmt.Fprintf(out, "%s\n", c.Fan)
		}
		for _, one := range []func(context.Context, config) finding{checkSource, checkClock, checkKey, checkCertificate,
			checkPair, checkSpool, checkName, checkConnection} {
			found := one(ctx, c)
			all++
			if found.err != nil {
				bad++
			}
			if err := found.print(out, c.Fan, *asJSON); err != nil {
				return err
			}
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

func checkClock(_ context.Context, c config) finding {
	f := finding{what: "clock: " + time.Now().UTC().Format(time.RFC3339),
		mend: "Set it, or switch NTP on: timedatectl set-ntp true. Readings are marked until then."}
	switch {
	case time.Now().Before(edge.BuildTime()):
		f.err = errors.New("is behind the making of this program")
	case c.Source.GPIO != nil && !edge.Synchronised():
		f.err = errors.New("the kernel says that nobody has synchronised it")
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
	f := finding{what: "certificate: " + c.Cert, mend: "Fetch it with: fanwatch provision " + c.Fan + " --csr " + c.Fan +
		".csr --out " + c.Fan + ".pem"}
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
	case now.Before(cert.NotBefore) && now.After(edge.BuildTime()):
		f.err, f.mend = fmt.Errorf("begins on %s only", cert.NotBefore.UTC().Format(time.RFC3339)),
			"See whether the clock is right."
	}
	return f
}

func checkPair(_ context.Context, c config) finding {
	_, err := edge.TLSConfig(c.CA, c.Cert, c.Key, nil)
	return finding{"certificate, key and root CA belong together", err,
		"Provision with the request that enroll made on this device; the root CA is the broker's, for AWS AmazonRootCA1.pem."}
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
	f := finding{what: "broker: " + c.Broker, mend: "Write the endpoint as aws iot describe-endpoint " +
		"--endpoint-type iot:Data-ATS gives it, with :8883, and see that DNS works."}
	host, _, err := net.SplitHostPort(c.Broker)
	if f.err = err; err != nil {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, f.err = net.DefaultResolver.LookupHost(ctx, host)
	return f
}

// sentence makes a sentence of a mend.
func sentence(mend string) string { return strings.ToUpper(mend[:1]) + mend[1:] + "." }

func checkConnection(ctx context.Context, c config) finding {
	f := finding{what: "connection to " + c.Broker, mend: "See that this port is open to the outside (443 often is " +
		"where 8883 is not), that the root CA is the broker's, that the certificate is active, and that a policy " +
		"which allows connect and publish is attached to it."}
	conf := c.edge()
	conf.ConnectTimeout = 10 * time.Second
	var err error
	if conf.TLS, err = edge.TLSConfig(c.CA, c.Cert, c.Key, nil); err != nil {
		f.err, f.mend = errors.New("not tried without certificate, key and root CA"), "Mend those first."
		return f
	}
	var why *edge.ConnectError
	if f.err = edge.Connect(ctx, conf); errors.As(f.err, &why) {
		f.err, f.mend = why.Err, sentence(why.Mend)
	}
	return f
}
