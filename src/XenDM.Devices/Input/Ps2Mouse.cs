using System;
using XenDM.Core.Input;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Input;

/// <summary>
/// A PS/2 mouse with two, three or five buttons and a wheel; a part of <see cref="I8042"/>. It starts as a standard mouse (id 0); the sample rates
/// 200, 100, 80 make it an IntelliMouse (id 3), 200, 200, 80 after that an IntelliMouse Explorer with five buttons and a wheel that tilts (id 4).
/// Specification: IBM PS/2 Hardware Interface Technical Reference, Mouse; Microsoft, IntelliMouse protocol.
/// Deviations: a pixel is one count at any resolution. A reset's self test takes no time, and power on sends no result of it.
/// </summary>
public sealed class Ps2Mouse : IStateful, IPointer
{
    private const byte Ack = 0xfa;
    private const byte Resend = 0xfe;
    private const byte SelfTestPassed = 0xaa;
    private const byte IdStandard = 0;
    private const byte IdWheel = 3;
    private const byte IdFiveButtons = 4;
    private const byte NoCommand = 0;
    private const byte AllButtons = 0x1f;
    private const int QueueBytes = 16;
    private const int MaxReports = 16;
    private const int MaxMovement = 255;
    private const int MaxScaledMovement = 127;
    private const int MaxWheel = 7;
    private const int MaxTilt = 31;
    private const byte TiltReport = 0x40;
    private const long Second = 1_000_000_000;

    /// <summary>Movement that nobody read is kept to this many counts.</summary>
    private const int MaxKept = 1 << 16;

    /// <summary>Scaling 2:1 of small movements; larger ones are doubled.</summary>
    private static ReadOnlySpan<byte> Scaled => [0, 1, 1, 3, 6, 9];

    private readonly Action _ready;

    /// <summary>Runs from one report to the time of the next.</summary>
    private readonly VmTimer _sample;
    private readonly Ps2Queue _queue = new(QueueBytes);
    private readonly int[] _dx = new int[MaxReports];
    private readonly int[] _dy = new int[MaxReports];
    private readonly int[] _dz = new int[MaxReports];
    private readonly int[] _tilt = new int[MaxReports];
    private readonly byte[] _buttonsOf = new byte[MaxReports];
    private int _first;
    private int _count;
    private byte _buttons;
    private byte _pendingCommand;
    private byte _lastSent;
    private byte _id;
    private byte _rate;
    private byte _rateBefore;
    private byte _rateBeforeThat;
    private byte _resolution;
    private bool _scaling;
    private bool _reporting;
    private bool _remote;
    private bool _wrap;

    /// <param name="ready">Called when the queue is no longer empty.</param>
    internal Ps2Mouse(IVmClock clock, Action ready)
    {
        _ready = ready;
        _sample = clock.CreateTimer("i8042.mouse-sample", SampleTime);
        Reset();
    }

    public string Name => "PS/2 mouse";

    /// <summary>The guest's driver listens, or asks from time to time.</summary>
    public bool IsActive => _reporting || _remote;

    public bool IsAbsolute => false;

    private bool IsReporting => _reporting && !_remote && !_wrap;

    internal bool HasData => !_queue.IsEmpty;

    public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons)
    {
        _buttons = (byte)((byte)buttons & AllButtons);
        if (!IsActive) return;

        // Movement with the same buttons adds up; each change of the buttons is a report of its own while there is room.
        var last = (_first + _count - 1) & (MaxReports - 1);
        if (_count == 0 || (_buttonsOf[last] != _buttons && _count < MaxReports))
        {
            last = (_first + _count++) & (MaxReports - 1);
            _dx[last] = _dy[last] = _dz[last] = _tilt[last] = 0;
        }

        _dx[last] = Keep((long)_dx[last] + x);
        _dy[last] = Keep((long)_dy[last] + y);
        _dz[last] = Keep((long)_dz[last] + wheel);
        _tilt[last] = Keep((long)_tilt[last] + sideWheel);
        _buttonsOf[last] = _buttons;
        QueueReport();
        if (!_queue.IsEmpty) _ready();
    }

    private static int Keep(long value) => (int)Math.Clamp(value, -MaxKept, MaxKept);

    private void SampleTime()
    {
        QueueReport();
        if (!_queue.IsEmpty) _ready();
    }

    /// <summary>Puts the next report into the queue once the one before is read and its time is over.</summary>
    private void QueueReport()
    {
        if (!IsReporting || _count == 0 || _queue.DataCount > 0 || _sample.IsArmed) return;
        _sample.ArmAfter(Second / _rate);
        SendReport(answer: false);
    }

    /// <summary>Movement beyond what fits one report is left for the next.</summary>
    private void SendReport(bool answer)
    {
        int x = 0, y = 0, z = 0, tilt = 0;
        var buttons = _buttons;
        if (_count > 0)
        {
            var scale = _scaling && !answer;
            var max = scale ? MaxScaledMovement : MaxMovement;
            (x, y) = (Step(ref _dx[_first], max), -Step(ref _dy[_first], max));
            if (scale) (x, y) = (Scale(x), Scale(y));

            // The wheel that tilts has reports of its own.
            z = Step(ref _dz[_first], _id == IdStandard ? MaxKept : MaxWheel);
            if (_id != IdFiveButtons) _tilt[_first] = 0;
            else if (z == 0) tilt = Step(ref _tilt[_first], MaxTilt);
            buttons = _buttonsOf[_first];
            if ((_dx[_first] | _dy[_first] | _dz[_first] | _tilt[_first]) == 0)
            {
                _first = (_first + 1) & (MaxReports - 1);
                _count--;
            }
        }

        Put((byte)(0x08 | (buttons & 7) | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0)), answer);
        Put((byte)x, answer);
        Put((byte)y, answer);
        if (_id == IdWheel) Put((byte)z, answer);
        else if (_id == IdFiveButtons) Put((byte)(tilt != 0 ? TiltReport | (-tilt & 0x3f) : (z & 0x0f) | ((buttons & 0x18) << 1)), answer);
    }

    private static int Scale(int counts)
    {
        var distance = Math.Abs(counts);
        return Math.Sign(counts) * (distance < Scaled.Length ? Scaled[distance] : distance * 2);
    }

    private static int Step(ref int left, int max)
    {
        var step = Math.Clamp(left, -max, max);
        left -= step;
        return step;
    }

    private void Put(byte value, bool answer)
    {
        if (answer) _queue.Answer(value);
        else _queue.Add(value);
    }

    /// <summary>The next byte for the controller; only while <see cref="HasData"/>.</summary>
    internal byte Take()
    {
        var value = _queue.Take();
        if (value != Resend) _lastSent = value;
        if (_queue.IsEmpty) QueueReport();
        return value;
    }

    /// <summary>A byte from the host.</summary>
    internal void Write(byte value)
    {
        var command = _pendingCommand;
        _pendingCommand = NoCommand;
        if (_wrap && value is not (0xec or 0xff)) _queue.Answer(value);
        else if (command != NoCommand) Argument(command, value);
        else Command(value);
        if (!_queue.IsEmpty) _ready();
    }

    private void Command(byte value)
    {
        // A command breaks off the report that is being sent.
        _queue.ClearData();
        if (value == 0xfe)
        {
            _queue.Answer(_lastSent);
            return;
        }

        _queue.Answer(Ack);
        switch (value)
        {
            case 0xe6 or 0xe7: _scaling = value == 0xe7; break;
            case 0xe8 or 0xf3: _pendingCommand = value; break;
            case 0xe9: AnswerStatus(); break;
            case 0xea: _remote = false; break;
            case 0xeb: SendReport(answer: true); break;
            case 0xec: _wrap = false; break;
            case 0xee: _wrap = true; break;
            case 0xf0: _remote = true; break;
            case 0xf2: _queue.Answer(_id); break;
            case 0xf4: _reporting = true; _count = 0; break;
            case 0xf5: _reporting = false; break;
            case 0xf6: SetDefaults(); break;
            case 0xff:
                Reset();
                _queue.Answer(Ack);
                _queue.Answer(SelfTestPassed);
                _queue.Answer(IdStandard);
                break;
            default:
                _queue.Clear();
                _queue.Answer(Resend);
                break;
        }

        QueueReport();
    }

    private void Argument(byte command, byte value)
    {
        if (command == 0xe8 && value <= 3) _resolution = value;
        else if (command == 0xf3 && IsRate(value)) SetRate(value);
        else
        {
            _queue.Answer(Resend);
            return;
        }

        _queue.Answer(Ack);
    }

    private static bool IsRate(byte value) => value is 10 or 20 or 40 or 60 or 80 or 100 or 200;

    /// <summary>The knock that turns on the wheel and the side buttons.</summary>
    private void SetRate(byte value)
    {
        (_rateBeforeThat, _rateBefore, _rate) = (_rateBefore, _rate, value);
        switch (_rateBeforeThat, _rateBefore, _rate)
        {
            case (200, 100, 80): _id = IdWheel; break;
            case (200, 200, 80) when _id != IdStandard: _id = IdFiveButtons; break;
        }
    }

    private void AnswerStatus()
    {
        var left = (_buttons & (byte)PointerButtons.Left) != 0 ? 4 : 0;
        var middle = (_buttons & (byte)PointerButtons.Middle) != 0 ? 2 : 0;
        var right = (_buttons & (byte)PointerButtons.Right) != 0 ? 1 : 0;
        _queue.Answer((byte)((_remote ? 0x40 : 0) | (_reporting ? 0x20 : 0) | (_scaling ? 0x10 : 0) | left | middle | right));
        _queue.Answer(_resolution);
        _queue.Answer(_rate);
    }

    private void SetDefaults()
    {
        _rate = 100;
        _rateBefore = _rateBeforeThat = 0;
        _resolution = 2;
        _scaling = _reporting = _remote = false;
        _first = _count = 0;
        _sample.Cancel();
        _dx.AsSpan().Clear();
        _dy.AsSpan().Clear();
        _dz.AsSpan().Clear();
        _tilt.AsSpan().Clear();
        _buttonsOf.AsSpan().Clear();
    }

    internal void Reset()
    {
        _queue.Clear();
        SetDefaults();
        _id = IdStandard;
        _wrap = false;
        _pendingCommand = NoCommand;
    }

    internal void PowerOn()
    {
        Reset();
        _lastSent = 0;
        _buttons = 0;
    }

    public void State(StateVisitor s)
    {
        s.Child("queue", _queue);
        for (var i = 0; i < MaxReports; i++)
        {
            s.I32($"report{i}.dx", ref _dx[i], -MaxKept, MaxKept);
            s.I32($"report{i}.dy", ref _dy[i], -MaxKept, MaxKept);
            s.I32($"report{i}.dz", ref _dz[i], -MaxKept, MaxKept);
            s.I32($"report{i}.tilt", ref _tilt[i], -MaxKept, MaxKept, since: 2);
        }

        s.Bytes("report.buttons", _buttonsOf);
        s.I32("report.first", ref _first, 0, MaxReports - 1);
        s.I32("report.count", ref _count, 0, MaxReports);
        s.U8("buttons", ref _buttons);
        s.U8("command", ref _pendingCommand);
        s.U8("last-sent", ref _lastSent);
        s.U8("id", ref _id);
        s.U8("rate", ref _rate);
        s.U8("rate.before", ref _rateBefore);
        s.U8("rate.before-that", ref _rateBeforeThat);
        s.U8("resolution", ref _resolution);
        s.Bool("scaling", ref _scaling);
        s.Bool("reporting", ref _reporting);
        s.Bool("remote", ref _remote);
        s.Bool("wrap", ref _wrap);
        s.Timer(_sample, since: 2);
        if (s.IsLoading && !IsRate(_rate)) s.Fail("rate", $"{_rate} is no sample rate");
    }
}
