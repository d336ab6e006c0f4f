package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"fanwatch"
	"fanwatch/edge"
)

const enrollHelp = `fanwatch-edge enroll makes this device's private key, which never leaves it, and a certificate
signing request for it. Run again it keeps the key and writes the request anew.

  fanwatch-edge enroll --fan fan-21 --dir /etc/fanwatch
`

// enroll makes DIR/NAME.key and DIR/NAME.csr.
func enroll(args []string, out, errs io.Writer) error {
	f := flags("enroll", enrollHelp, errs)
	fan := f.String("fan", "", "the fan's `name`: 1 to 100 letters, digits, : _ -")
	dir := f.String("dir", ".", "the `directory` for the fan's key and request; made when missing")
	if err := parse(f, args, out); err != nil {
		return err
	}
	if *fan == "" {
		return wrong(f, "needs --fan NAME")
	}
	if err := fanwatch.CheckFan(*fan); err != nil {
		return wrong(f, "%v", err)
	}
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	base := filepath.Join(*dir, *fan)
	key, err := edge.NewKey(base + ".key")
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	csr, err := edge.CSR(key, *fan)
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	if err := os.WriteFile(base+".csr", csr, 0o644); err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	fmt.Fprintf(out, "key      %s.key (stays on this device)\nrequest  %s.csr\n\n"+
		"Next, where the operator's tool is:\n  fanwatch provision %s --csr %s.csr --out %s.pem\n"+
		"Then put %s.pem into %s, write a configuration (fanwatch-edge run --help shows one) and test it:\n  "+
		"fanwatch-edge check --config %s.yaml\n",
		base, base, *fan, *fan, *fan, *fan, *dir, base)
	return nil
}
