// Package worlds makes the readings of fans that do not exist, for days, with the truth beside them: healthy fans that
// are moved about by weather, load, supply, controllers and poor measurement, and fans that fail at a known hour.
//
// A world is a place and a way of use, such as "thermostat"; a seed makes one fan of it. Nothing is simulated below one
// reading: a rotor with a lag, a curve from duty to speed, temperature of day and weather, steps of load and supply,
// warming up, noise, and what the measuring does to all that. The same world, seed and interval give the same readings
// to the bit on every processor.
//
// docs/worlds.md lists the worlds, the faults and the columns of what the command generate writes.
package worlds
