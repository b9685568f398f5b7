// An SSH server for benchmarks. It answers each command at once and starts no process, so a host costs nothing.
//
// It presents itself as the sshd of Debian 12, so a client takes the same path as with a real host. A command that
// sshfan's watchdog wraps gets the report that the watchdog would write.
package main

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
)

const version = "SSH-2.0-OpenSSH_9.2"

// A wrapped command is the line `exec /bin/sh -c '…' 'sshfan' 'SECRET' …` (sshfan_async/process/watchdog.py).
var (
	wrapped = []byte("exec /bin/sh -c '")
	before  = []byte("' 'sshfan' '")
	after   = []byte("'")
)

var exitedWithZero = []byte{0, 0, 0, 0}

func main() {
	hostKey := flag.String("host-key", "", "the file of the private host key")
	clientKey := flag.String("client-key", "", "the file of the public key that may log in, as any user")
	flag.Parse()
	log.SetFlags(0)

	config := &ssh.ServerConfig{ServerVersion: version, PublicKeyCallback: accepts(*clientKey)}
	config.KeyExchanges = []string{"curve25519-sha256"}
	key, err := ssh.ParsePrivateKey(read(*hostKey))
	check(err)
	config.AddHostKey(key)

	listener, err := net.Listen("tcp", "127.0.0.1:0") // Go sets TCP_NODELAY on each connection
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go endWithInput()
	for {
		connection, err := listener.Accept()
		check(err)
		go serve(connection, config)
	}
}

// endWithInput ends the server when its standard input ends. So it never outlives the benchmark.
func endWithInput() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func accepts(file string) func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
	known, _, _, _, err := ssh.ParseAuthorizedKey(read(file))
	check(err)
	return func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if subtle.ConstantTimeCompare(known.Marshal(), offered.Marshal()) == 1 {
			return nil, nil
		}
		return nil, errors.New("unknown key")
	}
}

func serve(connection net.Conn, config *ssh.ServerConfig) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for each := range channels {
		if each.ChannelType() != "session" {
			each.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		if channel, requests, err := each.Accept(); err == nil {
			go session(channel, requests)
		}
	}
}

func session(channel ssh.Channel, requests <-chan *ssh.Request) {
	for request := range requests {
		switch request.Type {
		case "exec":
			request.Reply(true, nil)
			answer(channel, request.Payload)
		default: // sshd, too, does not answer a signal, and accepts an environment variable
			request.Reply(request.Type == "env", nil)
		}
	}
}

// answer ends the command of an exec request. The payload is its length in four bytes, and its text.
func answer(channel ssh.Channel, payload []byte) {
	defer channel.Close()
	if len(payload) < 4 || int(binary.BigEndian.Uint32(payload)) != len(payload)-4 {
		return
	}
	if command := payload[4:]; bytes.HasPrefix(command, wrapped) {
		_, rest, _ := bytes.Cut(command, before)
		secret, _, _ := bytes.Cut(rest, after)
		fmt.Fprintf(channel.Stderr(), "%s:watched\n", secret)
	}
	channel.SendRequest("exit-status", false, exitedWithZero)
	channel.CloseWrite()
}

func read(file string) []byte {
	content, err := os.ReadFile(file)
	check(err)
	return content
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
