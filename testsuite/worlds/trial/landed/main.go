// Command landed judges the records of fans by the package detect that it is built with. Package trial builds it in an
// earlier state of the project. Standard input has records, each after its length (4 bytes, big endian); length 0 ends
// a world. For each world it writes its observations as lines of JSON, then an empty line.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"fanwatch"
	"fanwatch/detect"
)

func main() {
	if err := run(bufio.NewReaderSize(os.Stdin, 1<<16), bufio.NewWriter(os.Stdout)); err != nil {
		fmt.Fprintf(os.Stderr, "landed: %v\n", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out *bufio.Writer) error {
	models, n := detect.New(detect.Config{}), 0
	var found []fanwatch.Observation
	for {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if length > 0 {
			record := make([]byte, length)
			if _, err := io.ReadFull(in, record); err != nil {
				return err
			}
			n++
			o := models.Feed(detect.Input{Arrived: time.Unix(1767225600, 0), Data: record,
				Position: fanwatch.Position{Shard: "shard-0", Sequence: fanwatch.SequenceNumber(strconv.Itoa(n))}})
			found = append(found, o.Observations...)
			continue
		}
		encoder := json.NewEncoder(out)
		for _, o := range found {
			if err := encoder.Encode(o); err != nil {
				return err
			}
		}
		if _, err := out.WriteString("\n"); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		models, n, found = detect.New(detect.Config{}), 0, found[:0]
	}
}
