using System;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Serial;

/// <summary>
/// National PC16550D UART with 16-byte FIFOs: eight ports, one interrupt, a character backend on its line. Data sheet: National
/// Semiconductor TL/C/8652, section 8.
/// Deviations: characters leave at once and arrive as fast as the guest takes them, always with 8 bits and good parity; only the receive
/// time-out uses the baud rate. The line has a null modem with its handshakes closed: CTS, DSR and DCD are always on. As on a PC, OUT2 gates
/// the interrupt. A write while the transmitter is full is lost, as in the chip; a slow backend only keeps it full for longer.
/// </summary>
public sealed class Uart16550 : IDevice, ICharFrontend
{
    /// <summary>Ports of one UART.</summary>
    public const int Ports = 8;
    private const int FifoBytes = 16;

    private const byte IerReceive = 0x01;
    private const byte IerTransmit = 0x02;
    private const byte IerLine = 0x04;
    private const byte IerModem = 0x08;
    private const byte IirNone = 0x01;
    private const byte IirModem = 0x00;
    private const byte IirTransmit = 0x02;
    private const byte IirReceive = 0x04;
    private const byte IirLine = 0x06;
    private const byte IirTimeout = 0x0c;
    private const byte IirFifos = 0xc0;
    private const byte FcrEnable = 0x01;
    private const byte FcrClearReceive = 0x02;
    private const byte FcrClearTransmit = 0x04;
    private const byte FcrKept = 0xc9;
    private const byte LcrBreak = 0x40;
    private const byte LcrDivisorLatch = 0x80;
    private const byte McrDtr = 0x01;
    private const byte McrRts = 0x02;
    private const byte McrOut1 = 0x04;
    private const byte McrOut2 = 0x08;
    private const byte McrLoop = 0x10;
    private const byte LsrDataReady = 0x01;
    private const byte LsrOverrun = 0x02;
    private const byte LsrFraming = 0x08;
    private const byte LsrBreak = 0x10;
    private const byte LsrErrors = 0x1e;
    private const byte LsrTransmitEmpty = 0x20;
    private const byte LsrIdle = 0x40;
    private const byte LsrFifoError = 0x80;
    private const byte MsrDeltas = 0x0f;
    private const byte MsrCts = 0x10;
    private const byte MsrDsr = 0x20;
    private const byte MsrRing = 0x40;
    private const byte MsrCarrier = 0x80;
    private const byte MsrTrailingRing = 0x04;

    /// <summary>Characters of silence after which waiting bytes below the trigger level are announced.</summary>
    private const int TimeoutCharacters = 4;

    /// <summary>1.8432 MHz / 16: the rate for divisor 1.</summary>
    private const long BaseBaud = 115200;

    private static readonly RegisterTable<Uart16550> s_registers = new RegisterTable<Uart16550>("16550A", Ports)
        .Computed(0, 1, "RBR/THR/DLL", read: static u => u.ReadData(), write: static (u, v) => u.WriteData((byte)v))
        .Byte(1, "IER/DLM", static u => ref u._ier, read: static u => u.IsLatchOpen ? (uint)(u._divisor >> 8) : u._ier, write: static (u, v) => u.WriteIer((byte)v))
        .Computed(2, 1, "IIR/FCR", read: static u => u.ReadIir(), write: static (u, v) => u.WriteFcr((byte)v))
        .Byte(3, "LCR", static u => ref u._lcr, write: static (u, v) => u.WriteLcr((byte)v))
        .Byte(4, "MCR", static u => ref u._mcr, write: static (u, v) => u.WriteMcr((byte)v))
        .Computed(5, 1, "LSR", read: static u => u.ReadLsr(), write: static (_, _) => { })
        .Computed(6, 1, "MSR", read: static u => u.ReadMsr(), write: static (_, _) => { })
        .Byte(7, "SCR", static u => ref u._scr)
        .Build();

    private static ReadOnlySpan<byte> TriggerLevels => [1, 4, 8, 14];

    private readonly IrqLine _irq;
    private readonly ICharBackend? _backend;
    private readonly VmTimer _timeout;

    /// <summary>Not saved: after a restore it offers what waits to the new backend.</summary>
    private readonly VmTimer _resume;

    [Glue("the backend was refused input and waits for a call; a fresh backend asks by itself")]
    private bool _inputWaits;

    private readonly byte[] _receive = new byte[FifoBytes];
    private readonly byte[] _receiveErrors = new byte[FifoBytes];
    private readonly byte[] _transmit = new byte[FifoBytes];
    private int _receiveHead;
    private int _receiveCount;
    private int _transmitCount;
    private ushort _divisor;
    private byte _ier;
    private byte _fcr;
    private byte _lcr;
    private byte _mcr;
    private byte _msr;
    private byte _scr;
    private bool _overrun;
    private bool _transmitPending;
    private bool _timedOut;

    /// <param name="id">Unique on the board: serial0 to serial3.</param>
    /// <param name="irq">Level of the interrupt; ports that share an ISA interrupt get their lines from a junction.</param>
    /// <param name="backend">The other end of the cable; null for a port with nothing plugged in.</param>
    public Uart16550(string id, IrqLine irq, IVmClock clock, ICharBackend? backend)
    {
        Id = id;
        _irq = irq;
        _backend = backend;
        _timeout = clock.CreateTimer(id + ".timeout", ReceiveTimeout);
        _resume = clock.CreateTimer(id + ".resume", WriteReady);
        Region = new TableRegion<Uart16550>(s_registers, this);
        backend?.Attach(this);
    }

    public string Id { get; }

    /// <summary>The eight ports.</summary>
    public IIoRegion Region { get; }

    /// <param name="port">0x3f8, 0x2f8, 0x3e8 or 0x2e8 on a PC.</param>
    public void MapPorts(AddressSpace ports, ushort port) => ports.Map(Id, port, Ports, Region);

    private bool IsLatchOpen => (_lcr & LcrDivisorLatch) != 0;

    private bool HasFifos => (_fcr & FcrEnable) != 0;

    private bool IsLooped => (_mcr & McrLoop) != 0;

    private int Capacity => HasFifos ? FifoBytes : 1;

    private int TriggerLevel => HasFifos ? TriggerLevels[_fcr >> 6] : 1;

    private byte ReadData()
    {
        if (IsLatchOpen) return (byte)_divisor;
        if (_receiveCount == 0) return _receive[(_receiveHead - 1) & (FifoBytes - 1)];
        var value = _receive[_receiveHead];
        _receiveHead = (_receiveHead + 1) & (FifoBytes - 1);
        _receiveCount--;
        _timedOut = false;
        RestartTimeout();
        UpdateIrq();
        OfferRoom();
        return value;
    }

    private void WriteData(byte value)
    {
        if (IsLatchOpen)
        {
            _divisor = (ushort)((_divisor & 0xff00) | value);
            return;
        }

        // The line falls in between, so that the next empty transmitter is an edge again.
        _transmitPending = false;
        UpdateIrq();
        if (IsLooped)
        {
            Push(value, 0);
            _transmitPending = true;
        }
        else if (_transmitCount < Capacity)
        {
            _transmit[_transmitCount++] = value;
            Transmit();
        }

        UpdateIrq();
    }

    private void WriteIer(byte value)
    {
        if (IsLatchOpen)
        {
            _divisor = (ushort)((_divisor & 0x00ff) | (value << 8));
            return;
        }

        // Enabling the interrupt of an empty transmitter raises it: drivers start sending that way.
        if ((value & ~_ier & IerTransmit) != 0 && _transmitCount == 0) _transmitPending = true;
        _ier = (byte)(value & 0x0f);
        UpdateIrq();
    }

    private byte ReadIir()
    {
        var source = Source();
        if (source == IirTransmit)
        {
            _transmitPending = false;
            UpdateIrq();
        }

        return (byte)(source | (HasFifos ? IirFifos : 0));
    }

    private void WriteFcr(byte value)
    {
        var toggled = ((value ^ _fcr) & FcrEnable) != 0;
        if (toggled || (value & (FcrEnable | FcrClearReceive)) == (FcrEnable | FcrClearReceive)) ClearReceive();
        if (toggled || (value & (FcrEnable | FcrClearTransmit)) == (FcrEnable | FcrClearTransmit))
        {
            if (_transmitCount > 0) _transmitPending = true;
            _transmitCount = 0;
        }

        _fcr = (value & FcrEnable) != 0 ? (byte)(value & FcrKept) : (byte)0;
        UpdateIrq();
        OfferRoom();
    }

    private void WriteLcr(byte value)
    {
        var changed = value ^ _lcr;
        _lcr = value;
        if ((changed & LcrBreak) != 0) _backend?.SetBreak((value & LcrBreak) != 0);
    }

    private void WriteMcr(byte value)
    {
        _mcr = (byte)(value & 0x1f);
        UpdateModem();
        UpdateIrq();
        OfferRoom();
    }

    private byte ReadLsr()
    {
        var value = LineStatus();
        _overrun = false;
        if (_receiveCount > 0) _receiveErrors[_receiveHead] = 0;
        UpdateIrq();
        return value;
    }

    private byte ReadMsr()
    {
        var value = _msr;
        _msr &= unchecked((byte)~MsrDeltas);
        UpdateIrq();
        return value;
    }

    private byte LineStatus()
    {
        byte value = 0;
        if (_receiveCount > 0)
        {
            value |= (byte)(LsrDataReady | _receiveErrors[_receiveHead]);
            for (var i = 0; HasFifos && i < _receiveCount; i++)
                if (_receiveErrors[(_receiveHead + i) & (FifoBytes - 1)] != 0) value |= LsrFifoError;
        }

        if (_overrun) value |= LsrOverrun;
        if (_transmitCount == 0) value |= LsrTransmitEmpty | LsrIdle;
        return value;
    }

    /// <summary>The pending interrupt of the highest priority.</summary>
    private byte Source()
    {
        if ((_ier & IerLine) != 0 && (_overrun || (_receiveCount > 0 && (_receiveErrors[_receiveHead] & LsrErrors) != 0))) return IirLine;
        if ((_ier & IerReceive) != 0 && _receiveCount >= TriggerLevel) return IirReceive;
        if ((_ier & IerReceive) != 0 && _timedOut && _receiveCount > 0) return IirTimeout;
        if ((_ier & IerTransmit) != 0 && _transmitPending) return IirTransmit;
        return (_ier & IerModem) != 0 && (_msr & MsrDeltas) != 0 ? IirModem : IirNone;
    }

    /// <summary>In loopback the OUT2 pin is inactive, and with it the interrupt.</summary>
    private void UpdateIrq() => _irq.Set((_mcr & (McrOut2 | McrLoop)) == McrOut2 && Source() != IirNone);

    private void UpdateModem()
    {
        var lines = MsrCts | MsrDsr | MsrCarrier;
        if (IsLooped)
        {
            lines = ((_mcr & McrRts) != 0 ? MsrCts : 0) | ((_mcr & McrDtr) != 0 ? MsrDsr : 0) |
                ((_mcr & McrOut1) != 0 ? MsrRing : 0) | ((_mcr & McrOut2) != 0 ? MsrCarrier : 0);
        }

        // RI reports only its end, the others each change.
        var changed = (lines ^ _msr) & 0xf0;
        var deltas = (changed >> 4) & ~MsrTrailingRing;
        if ((changed & MsrRing) != 0 && (lines & MsrRing) == 0) deltas |= MsrTrailingRing;
        _msr = (byte)(lines | (_msr & MsrDeltas) | deltas);
    }

    /// <summary>Gives the backend what waits; what it does not take stays until it is ready again.</summary>
    private void Transmit()
    {
        var taken = _backend is null ? _transmitCount : Math.Clamp(_backend.Write(_transmit.AsSpan(0, _transmitCount)), 0, _transmitCount);
        _transmit.AsSpan(taken, _transmitCount - taken).CopyTo(_transmit);
        _transmitCount -= taken;
        if (_transmitCount == 0) _transmitPending = true;
    }

    private void Push(byte value, byte errors)
    {
        if (_receiveCount >= Capacity)
        {
            // With FIFOs the newest character is lost, without them the one that nobody read.
            _overrun = true;
            if (!HasFifos) _receive[_receiveHead] = value;
            return;
        }

        var tail = (_receiveHead + _receiveCount++) & (FifoBytes - 1);
        _receive[tail] = value;
        _receiveErrors[tail] = errors;
        RestartTimeout();
    }

    private void ClearReceive()
    {
        _receiveCount = 0;
        _timedOut = false;
        _receiveErrors.AsSpan().Clear();
        _timeout.Cancel();
    }

    private void RestartTimeout()
    {
        if (HasFifos && _receiveCount > 0) _timeout.ArmAfter(TimeoutCharacters * 10 * Math.Max(1, (long)_divisor) * 1_000_000_000 / BaseBaud);
        else _timeout.Cancel();
    }

    private void ReceiveTimeout()
    {
        _timedOut = _receiveCount > 0;
        UpdateIrq();
    }

    private void OfferRoom()
    {
        if (!_inputWaits || ReceiveRoom == 0) return;
        _inputWaits = false;
        _backend?.AcceptInput();
    }

    /// <summary>Nothing comes from outside while the line is looped back.</summary>
    public int ReceiveRoom
    {
        get
        {
            var room = IsLooped ? 0 : Math.Max(0, Capacity - _receiveCount);
            if (room == 0) _inputWaits = true;
            return room;
        }
    }

    public void Receive(ReadOnlySpan<byte> data)
    {
        foreach (var value in data) Push(value, 0);
        if (_receiveCount >= Capacity) _inputWaits = true;
        UpdateIrq();
    }

    public void Event(CharEvent e)
    {
        if (e != CharEvent.Break || IsLooped) return;
        Push(0, LsrBreak | LsrFraming);
        UpdateIrq();
    }

    public void WriteReady()
    {
        if (_transmitCount == 0) return;
        Transmit();
        UpdateIrq();
    }

    public void Reset(ResetKind kind)
    {
        if ((_lcr & LcrBreak) != 0) _backend?.SetBreak(false);
        s_registers.Reset(this);
        ClearReceive();
        _receive.AsSpan().Clear();
        _receiveHead = 0;
        _transmit.AsSpan().Clear();
        _transmitCount = 0;
        _transmitPending = false;
        _overrun = false;
        _fcr = 0;

        // The chip leaves the latch as it is; firmware expects 9600 baud from a PC.
        _divisor = 12;
        _msr = MsrCts | MsrDsr | MsrCarrier;
        UpdateIrq();
        OfferRoom();
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_registers, this);
        s.U8("FCR", ref _fcr);
        s.U8("MSR", ref _msr);
        s.U16("divisor", ref _divisor);
        s.Bytes("receive", _receive);
        s.Bytes("receive.errors", _receiveErrors);
        s.I32("receive.head", ref _receiveHead, 0, FifoBytes - 1);
        s.I32("receive.count", ref _receiveCount, 0, FifoBytes);
        s.Bytes("transmit", _transmit);
        s.I32("transmit.count", ref _transmitCount, 0, FifoBytes);
        s.Bool("transmit.pending", ref _transmitPending);
        s.Bool("overrun", ref _overrun);
        s.Bool("timed-out", ref _timedOut);
        s.Timer(_timeout);
        s.Line("irq", _irq);
    }

    /// <summary>Bytes that the old backend did not take go to the new one as soon as the guest runs; a break goes on.</summary>
    public void Restored()
    {
        if ((_lcr & LcrBreak) != 0) _backend?.SetBreak(true);
        if (_transmitCount > 0) _resume.ArmAfter(0);
    }
}
