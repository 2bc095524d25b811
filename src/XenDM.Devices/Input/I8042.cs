using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Input;

/// <summary>
/// The keyboard controller of an AT, an Intel 8042 with the PS/2 firmware: ports 0x60 (data) and 0x64 (status, command), one interrupt for
/// the keyboard and one for the mouse. Specification: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device
/// controller.
/// Deviations: commands are carried out at once, so the input buffer is never full. A byte of a device follows the one before it after 200 us
/// (a real line takes about 1 ms), so that a handler which reads port 0x60 twice sees the same code twice. The hypervisor's A20 is always
/// open: the output port's bit is only kept.
/// </summary>
public sealed class I8042 : IDevice
{
    private const ushort DataPort = 0x60;
    private const ushort CommandPort = 0x64;
    private const long ByteTime = 200_000;
    private const int RamBytes = 32;
    private const int ReplyBytes = 8;

    private const byte StatusOutputFull = 0x01;
    private const byte StatusSystem = 0x04;
    private const byte StatusCommand = 0x08;
    private const byte StatusUnlocked = 0x10;
    private const byte StatusMouse = 0x20;
    private const byte ModeKeyboardInterrupt = 0x01;
    private const byte ModeMouseInterrupt = 0x02;
    private const byte ModeSystem = 0x04;
    private const byte ModeKeyboardOff = 0x10;
    private const byte ModeMouseOff = 0x20;
    private const byte ModeTranslate = 0x40;
    private const byte OutputNotReset = 0x01;
    private const byte OutputA20 = 0x02;
    private const byte OutputKeyboardFull = 0x10;
    private const byte OutputMouseFull = 0x20;
    private const byte Break = 0xf0;

    /// <summary>Input port: keyboard not locked, no jumper set.</summary>
    private const byte InputPort = 0xa0;

    private static readonly RegisterTable<I8042> s_data = new RegisterTable<I8042>("8042 data", 1)
        .Computed(0, 1, "DATA", read: static c => c.ReadData(), write: static (c, v) => c.WriteData((byte)v))
        .Build();

    private static readonly RegisterTable<I8042> s_command = new RegisterTable<I8042>("8042 command", 1)
        .Computed(0, 1, "STATUS/COMMAND", read: static c => c.ReadStatus(), write: static (c, v) => c.WriteCommand((byte)v))
        .Build();

    private enum Source : byte
    {
        Controller,
        Keyboard,
        Mouse,
    }

    private readonly IrqLine _keyboardIrq;
    private readonly IrqLine _mouseIrq;
    private readonly IMachineControl _machine;
    private readonly VmTimer _nextByte;

    /// <summary>Internal RAM; byte 0 is the mode ("command byte").</summary>
    private readonly byte[] _ram = new byte[RamBytes];
    private readonly byte[] _replies = new byte[ReplyBytes];
    private readonly byte[] _repliesAreMouse = new byte[ReplyBytes];
    private int _replyCount;
    private byte _output;
    private byte _outputPort;
    private byte _pendingCommand;
    private bool _full;
    private bool _fromMouse;
    private bool _commandWritten;
    private bool _translateBreak;

    /// <param name="keyboardIrq">IRQ 1: high while a keyboard byte waits.</param>
    /// <param name="mouseIrq">IRQ 12: high while a mouse byte waits.</param>
    /// <param name="machine">Asked for a reset when the guest pulses the output port.</param>
    public I8042(IrqLine keyboardIrq, IrqLine mouseIrq, IVmClock clock, IMachineControl machine)
    {
        _keyboardIrq = keyboardIrq;
        _mouseIrq = mouseIrq;
        _machine = machine;
        _nextByte = clock.CreateTimer("i8042.next-byte", LoadOutput);
        Keyboard = new Ps2Keyboard(clock, LoadOutput);
        Mouse = new Ps2Mouse(clock, LoadOutput);
        Reset(ResetKind.Cold);
    }

    public string Id => "i8042";

    /// <summary>2: the repeats of keys and the sample rate of the mouse, the tilting wheel.</summary>
    public int StateVersion => 2;

    public Ps2Keyboard Keyboard { get; }

    public Ps2Mouse Mouse { get; }

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("i8042 data", DataPort, 1, new TableRegion<I8042>(s_data, this));
        ports.Map("i8042 command", CommandPort, 1, new TableRegion<I8042>(s_command, this));
    }

    private byte Mode => _ram[0];

    private byte ReadStatus()
    {
        var status = StatusUnlocked;
        if (_full) status |= StatusOutputFull;
        if (_full && _fromMouse) status |= StatusMouse;
        if ((Mode & ModeSystem) != 0) status |= StatusSystem;
        if (_commandWritten) status |= StatusCommand;
        return status;
    }

    /// <summary>An empty output buffer gives its last byte again.</summary>
    private byte ReadData()
    {
        var value = _output;
        if (!_full) return value;
        _full = false;
        _nextByte.ArmAfter(ByteTime);
        UpdateIrq();
        LoadReply();
        return value;
    }

    private void WriteCommand(byte command)
    {
        _commandWritten = true;
        _pendingCommand = 0;
        switch (command)
        {
            case >= 0x20 and < 0x40: Reply(_ram[command & (RamBytes - 1)]); break;
            case >= 0x60 and < 0x80 or 0xd1 or 0xd2 or 0xd3 or 0xd4: _pendingCommand = command; break;
            case 0xa4: Reply(0xf1); break;
            case 0xa7: SetMode((byte)(Mode | ModeMouseOff)); break;
            case 0xa8: SetMode((byte)(Mode & ~ModeMouseOff)); break;
            case 0xa9 or 0xab: Reply(0x00); break;
            case 0xaa: SelfTest(); break;
            case 0xad: SetMode((byte)(Mode | ModeKeyboardOff)); break;
            case 0xae: SetMode((byte)(Mode & ~ModeKeyboardOff)); break;
            case 0xc0: Reply(InputPort); break;
            case 0xd0: Reply(ReadOutputPort()); break;
            case 0xdd: WriteOutputPort((byte)(_outputPort & ~OutputA20)); break;
            case 0xdf: WriteOutputPort((byte)(_outputPort | OutputA20)); break;
            case 0xe0: Reply(0x00); break;

            // Pulses the output port's bits 3:0 that are zero; bit 0 is the processor's reset.
            case >= 0xf0 when (command & OutputNotReset) == 0: _machine.RequestReset("keyboard controller"); break;
        }
    }

    private void WriteData(byte value)
    {
        _commandWritten = false;
        var command = _pendingCommand;
        _pendingCommand = 0;
        switch (command)
        {
            case 0x60: SetMode(value); break;
            case > 0x60 and < 0x80: _ram[command & (RamBytes - 1)] = value; break;
            case 0xd1: WriteOutputPort(value); break;
            case 0xd2: Reply(value); break;
            case 0xd3: Reply(value, fromMouse: true); break;
            case 0xd4:
                Mouse.Write(value);
                break;
            default:
                // Sending to the keyboard switches its line on.
                SetMode((byte)(Mode & ~ModeKeyboardOff));
                Keyboard.Write(value);
                break;
        }
    }

    private void SetMode(byte mode)
    {
        _ram[0] = mode;
        UpdateIrq();
        LoadOutput();
    }

    /// <summary>The test also brings the controller into its first state: both lines off, interrupts off.</summary>
    private void SelfTest()
    {
        _replyCount = 0;
        _translateBreak = false;
        SetMode((byte)((Mode & ModeTranslate) | ModeSystem | ModeKeyboardOff | ModeMouseOff));
        Reply(0x55);
    }

    private byte ReadOutputPort()
    {
        var keyboard = _full && !_fromMouse && (Mode & ModeKeyboardInterrupt) != 0;
        var mouse = _full && _fromMouse && (Mode & ModeMouseInterrupt) != 0;
        return (byte)(_outputPort | OutputNotReset | 0xc0 | (keyboard ? OutputKeyboardFull : 0) | (mouse ? OutputMouseFull : 0));
    }

    private void WriteOutputPort(byte value)
    {
        _outputPort = (byte)(value & OutputA20);
        if ((value & OutputNotReset) == 0) _machine.RequestReset("keyboard controller output port");
    }

    /// <summary>The controller's own answer. More of them than a host reads are lost.</summary>
    private void Reply(byte value, bool fromMouse = false)
    {
        if (_replyCount == ReplyBytes) return;
        _replies[_replyCount] = value;
        _repliesAreMouse[_replyCount++] = fromMouse ? (byte)1 : (byte)0;
        LoadReply();
    }

    private void LoadReply()
    {
        if (_full || _replyCount == 0) return;
        var value = _replies[0];
        var fromMouse = _repliesAreMouse[0] != 0;
        _replyCount--;
        for (var i = 0; i < _replyCount; i++) (_replies[i], _repliesAreMouse[i]) = (_replies[i + 1], _repliesAreMouse[i + 1]);
        Load(value, fromMouse ? Source.Mouse : Source.Controller);
    }

    /// <summary>Fills the output buffer from a device whose line is on, when the line has had its time. The keyboard goes first.</summary>
    private void LoadOutput()
    {
        LoadReply();
        while (!_full && !_nextByte.IsArmed)
        {
            if (Keyboard.HasData && (Mode & ModeKeyboardOff) == 0) Load(Keyboard.Take(), Source.Keyboard);
            else if (Mouse.HasData && (Mode & ModeMouseOff) == 0) Load(Mouse.Take(), Source.Mouse);
            else return;
        }
    }

    private void Load(byte value, Source source)
    {
        if (source == Source.Keyboard && (Mode & ModeTranslate) != 0)
        {
            // The break prefix is swallowed and becomes bit 7 of the code after it.
            if (value == Break)
            {
                _translateBreak = true;
                return;
            }

            value = (byte)(ScanCodes.Translate(value) | (_translateBreak ? 0x80 : 0));
            _translateBreak = false;
        }

        _output = value;
        _full = true;
        _fromMouse = source == Source.Mouse;
        UpdateIrq();
    }

    private void UpdateIrq()
    {
        _keyboardIrq.Set(_full && !_fromMouse && (Mode & ModeKeyboardInterrupt) != 0);
        _mouseIrq.Set(_full && _fromMouse && (Mode & ModeMouseInterrupt) != 0);
    }

    public void Reset(ResetKind kind)
    {
        _nextByte.Cancel();
        System.Array.Clear(_ram);
        System.Array.Clear(_replies);
        System.Array.Clear(_repliesAreMouse);
        _ram[0] = ModeKeyboardInterrupt | ModeMouseInterrupt | ModeTranslate;
        _replyCount = 0;
        _output = 0;
        _outputPort = OutputA20;
        _pendingCommand = 0;
        _full = _fromMouse = _commandWritten = _translateBreak = false;
        Keyboard.PowerOn();
        Mouse.PowerOn();
        UpdateIrq();
    }

    public void State(StateVisitor s)
    {
        s.Bytes("ram", _ram);
        s.Bytes("replies", _replies);
        s.Bytes("replies.mouse", _repliesAreMouse);
        s.I32("replies.count", ref _replyCount, 0, ReplyBytes);
        s.U8("output", ref _output);
        s.U8("output-port", ref _outputPort);
        s.U8("command", ref _pendingCommand);
        s.Bool("full", ref _full);
        s.Bool("from-mouse", ref _fromMouse);
        s.Bool("command-written", ref _commandWritten);
        s.Bool("translate-break", ref _translateBreak);
        s.Child("keyboard", Keyboard);
        s.Child("mouse", Mouse);
        s.Timer(_nextByte);
        s.Line("keyboard-irq", _keyboardIrq);
        s.Line("mouse-irq", _mouseIrq);
    }
}
