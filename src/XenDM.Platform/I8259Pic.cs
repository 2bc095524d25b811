using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Platform;

/// <summary>
/// Two Intel 8259A interrupt controllers, cascaded on input 2, with the edge/level registers of the PIIX3. Ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0,
/// 0x4d1. Data sheet: Intel 8259A (231468-003); ELCR: PIIX3 (290550-002) section 2.5.8.
/// Deviations: MCS-80/85 mode and buffered mode are stored only.
/// </summary>
public sealed class I8259Pic : IDevice, IIrqSink
{
    private const int CascadeInput = 2;

    private static readonly RegisterTable<Controller> s_ports = new RegisterTable<Controller>("8259A", 2)
        .Computed(0, 1, "COMMAND", read: static c => c.ReadCommand(), write: static (c, v) => c.WriteCommand((byte)v))
        .Computed(1, 1, "DATA", read: static c => c.ReadData(), write: static (c, v) => c.WriteData((byte)v))
        .Build();

    private static readonly RegisterTable<I8259Pic> s_elcr = new RegisterTable<I8259Pic>("ELCR", 2)
        .Computed(0, 1, "ELCR1", read: static p => p._master.Elcr, write: static (p, v) => p.WriteElcr(p._master, (byte)v))
        .Computed(1, 1, "ELCR2", read: static p => p._slave.Elcr, write: static (p, v) => p.WriteElcr(p._slave, (byte)v))
        .Build();

    private readonly IrqLine _output;
    private readonly Controller _master;
    private readonly Controller _slave;

    /// <param name="output">INTR of the master.</param>
    public I8259Pic(IrqLine output)
    {
        _output = output;
        _master = new Controller(this, isMaster: true);
        _slave = new Controller(this, isMaster: false);
        Reset(ResetKind.Cold);
    }

    public string Id => "pic";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("pic master", 0x20, 2, new TableRegion<Controller>(s_ports, _master));
        ports.Map("pic slave", 0xa0, 2, new TableRegion<Controller>(s_ports, _slave));
        ports.Map("pic elcr", 0x4d0, 2, new TableRegion<I8259Pic>(s_elcr, this));
    }

    /// <summary>Drives input 0 to 15.</summary>
    public void SetLevel(int input, bool level)
    {
        if (input == CascadeInput) return;
        (input < 8 ? _master : _slave).SetInput(input & 7, level);
        Update();
    }

    /// <summary>The acknowledge cycle of the CPU: the vector of the highest request, or of the spurious interrupt 7.</summary>
    public int Acknowledge()
    {
        var irq = _master.Pending();
        int vector;
        if (irq < 0)
        {
            vector = _master.VectorBase + 7;
        }
        else if (irq == CascadeInput)
        {
            _master.Accept(CascadeInput);
            var inner = _slave.Pending();
            if (inner >= 0) _slave.Accept(inner);
            vector = _slave.VectorBase + (inner < 0 ? 7 : inner);
        }
        else
        {
            _master.Accept(irq);
            vector = _master.VectorBase + irq;
        }

        Update();
        return vector;
    }

    private void WriteElcr(Controller controller, byte value)
    {
        controller.Elcr = (byte)(value & (controller == _master ? 0xf8 : 0xde));
        Update();
    }

    private void Update()
    {
        _master.SetInput(CascadeInput, _slave.Pending() >= 0);
        _output.Set(_master.Pending() >= 0);
    }

    public void Reset(ResetKind kind)
    {
        _master.Reset();
        _slave.Reset();
        Update();
    }

    public void State(StateVisitor s)
    {
        _master.State(s, "master-");
        _slave.State(s, "slave-");
        var output = _output.Level;
        s.Bool("output", ref output);
        if (s.IsLoading) _output.Restore(output);
    }

    /// <summary>One 8259A.</summary>
    private sealed class Controller(I8259Pic pic, bool isMaster)
    {
        private byte _irr, _isr, _imr, _inputs, _icw1, _icw2, _icw4, _step, _lowest;
        private bool _readIsr, _poll, _specialMask, _rotateOnAutoEoi, _initialised;
        public byte Elcr;

        public int VectorBase => _icw2 & 0xf8;

        private bool AutoEoi => (_icw4 & 2) != 0;

        private bool SpecialFullyNested => (_icw4 & 0x10) != 0;

        public void SetInput(int input, bool level)
        {
            var bit = (byte)(1 << input);
            var isLevel = (Elcr & bit) != 0 || (_icw1 & 8) != 0 || (isMaster && input == CascadeInput);
            if (level)
            {
                if (isLevel || (_inputs & bit) == 0) _irr |= bit;
                _inputs |= bit;
            }
            else
            {
                // An edge-triggered request that goes away before it is acknowledged is lost (data sheet, "Level triggered mode").
                _irr &= (byte)~bit;
                _inputs &= (byte)~bit;
            }
        }

        /// <summary>Priority of an input: 0 is the highest.</summary>
        private int Priority(int input) => (input - _lowest - 1) & 7;

        /// <summary>The request that would be acknowledged now, or -1.</summary>
        public int Pending()
        {
            if (!_initialised) return -1;
            var requests = _irr & ~_imr;
            if (requests == 0) return -1;
            var best = -1;
            for (var n = 0; n < 8; n++)
                if ((requests & (1 << n)) != 0 && (best < 0 || Priority(n) < Priority(best))) best = n;
            for (var n = 0; n < 8; n++)
            {
                if ((_isr & (1 << n)) == 0) continue;
                // In special mask mode an input in service blocks only itself, and only while it is not masked.
                if (_specialMask && ((_imr & (1 << n)) != 0 || n != best)) continue;
                if (Priority(n) < Priority(best) || (n == best && !(SpecialFullyNested && isMaster && n == CascadeInput))) return -1;
            }

            return best;
        }

        public void Accept(int input)
        {
            var bit = (byte)(1 << input);
            if (!AutoEoi) _isr |= bit;
            else if (_rotateOnAutoEoi) _lowest = (byte)input;
            var isLevel = (Elcr & bit) != 0 || (_icw1 & 8) != 0;
            if (!isLevel) _irr &= (byte)~bit;
        }

        public uint ReadCommand()
        {
            if (_poll) return Poll();
            return _readIsr ? _isr : _irr;
        }

        public uint ReadData() => _poll ? Poll() : _imr;

        private uint Poll()
        {
            _poll = false;
            var input = Pending();
            if (input < 0) return 0;
            Accept(input);
            pic.Update();
            return 0x80u | (uint)input;
        }

        public void WriteCommand(byte value)
        {
            if ((value & 0x10) != 0)
            {
                _icw1 = value;
                _step = 1;
                _imr = _isr = _icw4 = 0;
                _lowest = 7;
                _specialMask = _readIsr = _poll = _rotateOnAutoEoi = false;
                _irr &= Elcr;
                _initialised = false;
            }
            else if ((value & 8) != 0)
            {
                if ((value & 2) != 0) _readIsr = (value & 1) != 0;
                if ((value & 4) != 0) _poll = true;
                if ((value & 0x40) != 0) _specialMask = (value & 0x20) != 0;
            }
            else
            {
                EndOfInterrupt(value);
            }

            pic.Update();
        }

        private void EndOfInterrupt(byte value)
        {
            var level = value & 7;
            switch (value >> 5)
            {
                case 0: _rotateOnAutoEoi = false; break;
                case 1: End(Highest(), false); break;
                case 3: End(level, false); break;
                case 4: _rotateOnAutoEoi = true; break;
                case 5: End(Highest(), true); break;
                case 6: _lowest = (byte)level; break;
                case 7: End(level, true); break;
                default: break;
            }
        }

        private int Highest()
        {
            var best = -1;
            for (var n = 0; n < 8; n++)
                if ((_isr & (1 << n)) != 0 && !(_specialMask && (_imr & (1 << n)) != 0) && (best < 0 || Priority(n) < Priority(best))) best = n;
            return best;
        }

        private void End(int input, bool rotate)
        {
            if (input < 0) return;
            _isr &= (byte)~(1 << input);
            if (rotate) _lowest = (byte)input;
        }

        public void WriteData(byte value)
        {
            switch (_step)
            {
                case 1:
                    _icw2 = value;
                    _step = (_icw1 & 2) == 0 ? (byte)2 : (_icw1 & 1) != 0 ? (byte)3 : (byte)0;
                    break;
                case 2:
                    _step = (_icw1 & 1) != 0 ? (byte)3 : (byte)0;
                    break;
                case 3:
                    _icw4 = value;
                    _step = 0;
                    break;
                default:
                    _imr = value;
                    break;
            }

            if (_step == 0) _initialised = true;
            pic.Update();
        }

        public void Reset()
        {
            _irr = _isr = _imr = _icw1 = _icw2 = _icw4 = _step = Elcr = 0;
            _lowest = 7;
            _readIsr = _poll = _specialMask = _rotateOnAutoEoi = _initialised = false;
        }

        public void State(StateVisitor s, string prefix)
        {
            s.U8(prefix + "irr", ref _irr);
            s.U8(prefix + "isr", ref _isr);
            s.U8(prefix + "imr", ref _imr);
            s.U8(prefix + "inputs", ref _inputs);
            s.U8(prefix + "icw1", ref _icw1);
            s.U8(prefix + "icw2", ref _icw2);
            s.U8(prefix + "icw4", ref _icw4);
            s.U8(prefix + "step", ref _step);
            s.U8(prefix + "lowest", ref _lowest);
            s.U8(prefix + "elcr", ref Elcr);
            s.Bool(prefix + "read-isr", ref _readIsr);
            s.Bool(prefix + "poll", ref _poll);
            s.Bool(prefix + "special-mask", ref _specialMask);
            s.Bool(prefix + "rotate-aeoi", ref _rotateOnAutoEoi);
            s.Bool(prefix + "initialised", ref _initialised);
            _lowest &= 7;
        }
    }
}
