package edge

// GPIOConfig says which line the tacho is on. Chips are found by label or lines by name, never by the
// number of the chip: it moved between the Raspberry Pi 5's kernels.
type GPIOConfig struct {
	Chip     string // label ("pinctrl-bcm2835", "pinctrl-rp1") or device path; "" = the chip that has a line of that name
	Line     string // the line's name ("GPIO17") or, with Chip, its offset ("17")
	Consumer string // what gpioinfo shows; "" = fanwatch-edge
}
