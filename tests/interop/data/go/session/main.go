// An MME on go-gtp's S11: creates a session at an S-GW, modifies its bearer, releases its S1 bearers and deletes it.
//
// The gateway tester's own MME never deletes; this one is for what it leaves out. Everything on the wire is go-gtp's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/wmnsk/go-gtp/gtpv2"
	"github.com/wmnsk/go-gtp/gtpv2/ie"
	"github.com/wmnsk/go-gtp/gtpv2/message"
)

var (
	local  = flag.String("local", "", "our S11 address")
	sgw    = flag.String("sgw", "", "the S-GW's S11 address")
	pgw    = flag.String("pgw", "", "the P-GW's S5/S8-C address")
	enb    = flag.String("enb", "", "the base station's S1-U address")
	apn    = flag.String("apn", "internet", "access point name")
	imsi   = flag.String("imsi", "001010000000001", "IMSI")
	answer = make(chan message.Message, 1)
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatalf("failed: %s", err)
	}
	fmt.Println("done")
}

func run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ours, err := net.ResolveUDPAddr("udp", *local+gtpv2.GTPCPort)
	if err != nil {
		return err
	}
	theirs, err := net.ResolveUDPAddr("udp", *sgw+gtpv2.GTPCPort)
	if err != nil {
		return err
	}
	conn, err := gtpv2.Dial(ctx, ours, theirs, gtpv2.IFTypeS11MMEGTPC, 7)
	if err != nil {
		return err
	}
	defer conn.Close()
	pass := func(_ *gtpv2.Conn, _ net.Addr, msg message.Message) error {
		answer <- msg
		return nil
	}
	conn.AddHandlers(map[uint8]gtpv2.HandlerFunc{
		message.MsgTypeCreateSessionResponse:        pass,
		message.MsgTypeModifyBearerResponse:         pass,
		message.MsgTypeReleaseAccessBearersResponse: pass,
		message.MsgTypeDeleteSessionResponse:        pass,
	})
	if _, err := conn.EchoRequest(theirs); err != nil {
		return err
	}
	session, err := create(conn, theirs)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	teid, err := session.GetTEID(gtpv2.IFTypeS11S4SGWGTPC)
	if err != nil {
		return err
	}
	if err := modify(conn, session, teid); err != nil {
		return fmt.Errorf("modify: %w", err)
	}
	if _, err := conn.SendMessageTo(message.NewReleaseAccessBearersRequest(teid, 0), theirs); err != nil {
		return err
	}
	if _, err := accepted(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if err := modify(conn, session, teid); err != nil {
		return fmt.Errorf("modify again: %w", err)
	}
	if _, err := conn.DeleteSession(teid, session, ie.NewEPSBearerID(5)); err != nil {
		return err
	}
	if _, err := accepted(); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

func create(conn *gtpv2.Conn, theirs net.Addr) (*gtpv2.Session, error) {
	session, _, err := conn.CreateSession(
		theirs,
		ie.NewIMSI(*imsi),
		ie.NewMSISDN("491700000001"),
		ie.NewMobileEquipmentIdentity("3534900698733190"),
		ie.NewUserLocationInformationStruct(
			nil, nil, nil, ie.NewTAI("001", "01", 1), ie.NewECGI("001", "01", 0x1234501), nil, nil, nil,
		),
		ie.NewServingNetwork("001", "01"),
		ie.NewRATType(gtpv2.RATTypeEUTRAN),
		ie.NewIndicationFromOctets(0, 0, 0, 0, 0, 0, 0),
		conn.NewSenderFTEID(*local, ""),
		ie.NewFullyQualifiedTEID(gtpv2.IFTypeS5S8PGWGTPC, 0, *pgw, "").WithInstance(1),
		ie.NewAccessPointName(*apn),
		ie.NewSelectionMode(gtpv2.SelectionModeMSorNetworkProvidedAPNSubscribedVerified),
		ie.NewPDNType(gtpv2.PDNTypeIPv4),
		ie.NewPDNAddressAllocation("0.0.0.0"),
		ie.NewAPNRestriction(gtpv2.APNRestrictionNoExistingContextsorRestriction),
		ie.NewAggregateMaximumBitRate(1000000, 1000000),
		ie.NewBearerContext(ie.NewEPSBearerID(5), ie.NewBearerQoS(1, 8, 1, 9, 0, 0, 0, 0)),
		ie.NewUETimeZone(time.Hour, 0),
	)
	if err != nil {
		return nil, err
	}
	got, err := accepted()
	if err != nil {
		return nil, err
	}
	response, ok := got.(*message.CreateSessionResponse)
	if !ok || response.SenderFTEIDC == nil || response.PAA == nil || len(response.BearerContextsCreated) != 1 {
		return nil, errors.New("a Create Session Response without F-TEID, PAA or bearer")
	}
	teid, err := response.SenderFTEIDC.TEID()
	if err != nil {
		return nil, err
	}
	session.AddTEID(gtpv2.IFTypeS11S4SGWGTPC, teid)
	for _, child := range response.BearerContextsCreated[0].ChildIEs {
		if child.Type == ie.FullyQualifiedTEID && child.Instance() == 0 {
			kind, err := child.InterfaceType()
			if err != nil {
				return nil, err
			}
			if kind != gtpv2.IFTypeS1USGWGTPU {
				return nil, fmt.Errorf("F-TEID of interface type %d where that of S1-U should be", kind)
			}
		}
	}
	address, err := response.PAA.IPAddress()
	if err != nil {
		return nil, err
	}
	fmt.Printf("PAA %s\n", address)
	return session, session.Activate()
}

func modify(conn *gtpv2.Conn, session *gtpv2.Session, teid uint32) error {
	fteid := ie.NewFullyQualifiedTEID(gtpv2.IFTypeS1UeNodeBGTPU, 0x1001, *enb, "")
	_, err := conn.ModifyBearer(teid, session, ie.NewBearerContext(ie.NewEPSBearerID(5), fteid))
	if err != nil {
		return err
	}
	_, err = accepted()
	return err
}

// accepted waits for the next response and looks at its cause.
func accepted() (message.Message, error) {
	var cause *ie.IE
	select {
	case msg := <-answer:
		switch m := msg.(type) {
		case *message.CreateSessionResponse:
			cause = m.Cause
		case *message.ModifyBearerResponse:
			cause = m.Cause
		case *message.ReleaseAccessBearersResponse:
			cause = m.Cause
		case *message.DeleteSessionResponse:
			cause = m.Cause
		}
		if cause == nil {
			return nil, fmt.Errorf("%s without cause", msg.MessageTypeName())
		}
		value, err := cause.Cause()
		if err != nil {
			return nil, err
		}
		fmt.Printf("%s cause %d\n", msg.MessageTypeName(), value)
		if value != gtpv2.CauseRequestAccepted {
			return nil, fmt.Errorf("refused with cause %d", value)
		}
		return msg, nil
	case <-time.After(5 * time.Second):
		return nil, errors.New("no answer")
	}
}
