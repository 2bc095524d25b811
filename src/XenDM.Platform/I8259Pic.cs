using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Platform;

/// <summary>
/// Two Intel 8259A interrupt controllers, master at 0x20/0x21 and slave at 0xa0/0xa1 on its input 2, with the edge/level registers of the
/// PIIX at 0x4d0/0x4d1. Inputs: the 16 ISA interrupts. Output: INTR. Data sheets: Intel 231468-003; 290550-002, section 2.5.3.
/// Deviations: always 8086 mode (ICW4 bit 0 is not looked at); ICW1's LTIM bit is not used, as on the PIIX the edge/level registers take
/// its place; ICW3 is not compared, the cascade is wired; buffered mode has no pins to drive.
/// </summary>
public sealed class I8259Pic : IDevice, IIrqSink
{
    private const ushort MasterPort = 0x20;
    private const ushort SlavePort = 0xa0;
    private const ushort ElcrPort = 0x4d0;
    private const int Cascade = 2;

    private static readonly RegisterTable<Controller> s_ports = new RegisterTable<Controller>("8259A", 2)
        .Computed(0, 1, "ICW1/OCW2/OCW3", read: static c => c.ReadStatus(), write: static (c, v) => c.WriteCommand((byte)v))
        .Computed(1, 1, "ICW2-4/OCW1", read: static c => c.ReadMask(), write: static (c, v) => c.WriteData((byte)v))
        .Build();

    private static readonly RegisterTable<I8259Pic> s_elcr = new RegisterTable<I8259Pic>("ELCR", 2)
        .Byte(0, "ELCR1", static p => ref p._master.Elcr, mask: 0xf8, after: static p => p._master.ModeChanged())
        .Byte(1, "ELCR2", static p => ref p._slave.Elcr, mask: 0xde, after: static p => p._slave.ModeChanged())
        .Build();

    private readonly IrqLine _intr;
    private readonly Controller _master;
    private readonly Controller _slave;

    /// <param name="intr">The INTR wire to the processors.</param>
    public I8259Pic(IrqLine intr)
    {
        _intr = intr;
        _master = new Controller(this);
        _slave = new Controller(this);
        Reset(ResetKind.Cold);
    }

    public string Id => "pic";

    /// <summary>INTR: an interrupt waits to be acknowledged.</summary>
    public bool Intr => _intr.Level;

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("pic master", MasterPort, 2, new TableRegion<Controller>(s_ports, _master));
        ports.Map("pic slave", SlavePort, 2, new TableRegion<Controller>(s_ports, _slave));
        ports.Map("pic elcr", ElcrPort, 2, new TableRegion<I8259Pic>(s_elcr, this));
    }

    /// <summary>Drives an input. Input 2 is the slave's and not to be had.</summary>
    /// <param name="input">0 to 15.</param>
    public void SetLevel(int input, bool level)
    {
        if (input is Cascade or < 0 or > 15) return;
        var controller = input < 8 ? _master : _slave;
        controller.SetLine(input & 7, level);
        Update();
    }

    /// <summary>The processor's interrupt acknowledge cycle.</summary>
    /// <returns>The vector; of input 7 without an in-service bit when the request is gone (a spurious interrupt).</returns>
    public int Acknowledge()
    {
        var input = _master.Pending();
        if (input < 0) return _master.Vector(7);
        int vector;
        if (input == Cascade && !_master.IsSingle)
        {
            var second = _slave.Pending();
            vector = _slave.Vector(second < 0 ? 7 : second);
            _master.Acknowledge(Cascade);
            if (second >= 0) _slave.Acknowledge(second);
            _master.SetLine(Cascade, false);
        }
        else
        {
            vector = _master.Vector(input);
            _master.Acknowledge(input);
        }

        // INTR falls between two interrupts, so that what waits next is an edge again.
        _intr.Set(false);
        Update();
        return vector;
    }

    private void Update()
    {
        _master.SetLine(Cascade, _slave.Pending() >= 0);
        _intr.Set(_master.Pending() >= 0);
    }

    /// <summary>The edge/level registers return to edges; the levels of the inputs are the board's.</summary>
    public void Reset(ResetKind kind)
    {
        s_elcr.Reset(this);
        _master.Reset();
        _slave.Reset();
        _master.SetLine(Cascade, false);
        _intr.Set(false);
        Update();
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_elcr, this);
        s.Child("master", _master);
        s.Child("slave", _slave);
        s.Line("intr", _intr);
    }

    /// <summary>One 8259A. What it does to the other one and to INTR is the pair's <see cref="Update"/>.</summary>
    private sealed class Controller : IStateful
    {
        private const byte Icw1 = 0x10;
        private const byte Icw1NeedsIcw4 = 0x01;
        private const byte Icw1Single = 0x02;
        private const byte Icw4AutoEoi = 0x02;
        private const byte Icw4FullyNested = 0x10;
        private const byte Ocw3 = 0x08;
        private const byte Ocw3Poll = 0x04;
        private const byte PollInterrupt = 0x80;

        public byte Elcr;
        private readonly I8259Pic _pair;
        private byte _irr;
        private byte _isr;
        private byte _imr;
        private byte _lines;
        private byte _vectorBase;
        private byte _icw1;
        private byte _icw3;
        private byte _icw4;

        /// <summary>The ICW that the data port takes next: 2 to 4, or 0 for OCW1.</summary>
        private int _step;

        /// <summary>The input of the lowest priority; the one after it has the highest.</summary>
        private int _lowest;

        /// <summary>The command words are complete; before that nothing interrupts.</summary>
        private bool _initialised;
        private bool _specialMask;
        private bool _rotatesOnAutoEoi;
        private bool _readsIsr;
        private bool _polled;

        public Controller(I8259Pic pair) => _pair = pair;

        /// <summary>There is no slave, says ICW1.</summary>
        public bool IsSingle => (_icw1 & Icw1Single) != 0;

        public int Vector(int input) => _vectorBase | input;

        /// <summary>An edge input requests with its rise and until its fall or its acknowledge; a level input while it is up.</summary>
        public void SetLine(int input, bool level)
        {
            var bit = (byte)(1 << input);
            if (!level)
            {
                _lines &= (byte)~bit;
                _irr &= (byte)~bit;
            }
            else if ((_lines & bit) == 0)
            {
                _lines |= bit;
                _irr |= bit;
            }
        }

        /// <summary>The request that may interrupt now, or -1: not masked, and above all that is in service.</summary>
        public int Pending()
        {
            var requests = _irr & ~_imr;
            if (requests == 0 || !_initialised) return -1;
            var request = Rank(requests);
            var inService = _specialMask ? _isr & ~_imr : _isr;
            var input = (request + _lowest + 1) & 7;
            if (inService == 0) return input;
            var served = Rank(inService);
            if (request < served) return input;

            // Special fully nested mode: the slave may interrupt its own service routine.
            return request == served && (_icw4 & Icw4FullyNested) != 0 && input == Cascade && this == _pair._master ? input : -1;
        }

        public void Acknowledge(int input)
        {
            var bit = (byte)(1 << input);
            if ((Elcr & bit) == 0) _irr &= (byte)~bit;
            if ((_icw4 & Icw4AutoEoi) == 0) _isr |= bit;
            else if (_rotatesOnAutoEoi) _lowest = input;
        }

        public void ModeChanged()
        {
            _irr = (byte)((_irr & ~Elcr) | (_lines & Elcr));
            _pair.Update();
        }

        public uint ReadStatus() => _polled ? Poll() : _readsIsr ? _isr : _irr;

        public uint ReadMask() => _polled ? Poll() : _imr;

        public void WriteCommand(byte value)
        {
            if ((value & Icw1) != 0) Initialize(value);
            else if ((value & Ocw3) != 0) WriteOcw3(value);
            else WriteOcw2(value);
            _pair.Update();
        }

        public void WriteData(byte value)
        {
            switch (_step)
            {
                case 2:
                    _vectorBase = (byte)(value & 0xf8);
                    _step = !IsSingle ? 3 : (_icw1 & Icw1NeedsIcw4) != 0 ? 4 : 0;
                    break;
                case 3:
                    _icw3 = value;
                    _step = (_icw1 & Icw1NeedsIcw4) != 0 ? 4 : 0;
                    break;
                case 4:
                    _icw4 = (byte)(value & 0x1f);
                    _step = 0;
                    break;
                default:
                    _imr = value;
                    break;
            }

            if (_step == 0) _initialised = true;
            _pair.Update();
        }

        /// <summary>Position in the order of priority of the best of some inputs: 0 is the highest.</summary>
        private int Rank(int inputs)
        {
            var turn = (_lowest + 1) & 7;
            return System.Numerics.BitOperations.TrailingZeroCount((inputs >> turn) | (inputs << (8 - turn)));
        }

        /// <summary>ICW1 forgets edges seen before: an input must rise again. Level inputs go on requesting.</summary>
        private void Initialize(byte value)
        {
            _icw1 = value;
            _icw4 = 0;
            _step = 2;
            _initialised = false;
            _imr = 0;
            _isr = 0;
            _irr = (byte)(_lines & Elcr);
            _lowest = 7;
            _specialMask = false;
            _rotatesOnAutoEoi = false;
            _readsIsr = false;
            _polled = false;
        }

        private void WriteOcw2(byte value)
        {
            var input = value & 7;
            switch (value >> 5)
            {
                case 0: _rotatesOnAutoEoi = false; break;
                case 1: EndHighest(); break;
                case 3: _isr &= (byte)~(1 << input); break;
                case 4: _rotatesOnAutoEoi = true; break;
                case 5:
                    var ended = EndHighest();
                    if (ended >= 0) _lowest = ended;
                    break;
                case 6: _lowest = input; break;
                case 7:
                    _isr &= (byte)~(1 << input);
                    _lowest = input;
                    break;
            }
        }

        /// <summary>Non-specific EOI; in special mask mode it passes over masked inputs.</summary>
        private int EndHighest()
        {
            var inService = _specialMask ? _isr & ~_imr : _isr;
            if (inService == 0) return -1;
            var input = (Rank(inService) + _lowest + 1) & 7;
            _isr &= (byte)~(1 << input);
            return input;
        }

        private void WriteOcw3(byte value)
        {
            if ((value & 0x40) != 0) _specialMask = (value & 0x20) != 0;
            if ((value & 0x02) != 0) _readsIsr = (value & 0x01) != 0;
            if ((value & Ocw3Poll) != 0) _polled = true;
        }

        /// <summary>The read after a poll command acknowledges, in place of the processor's cycle.</summary>
        private uint Poll()
        {
            _polled = false;
            var input = Pending();
            if (input < 0) return 0;
            Acknowledge(input);
            if (this == _pair._slave) _pair._master.SetLine(Cascade, false);
            _pair._intr.Set(false);
            _pair.Update();
            return (uint)(PollInterrupt | input);
        }

        public void Reset()
        {
            Initialize(0);
            _step = 0;
            _vectorBase = 0;
            _icw3 = 0;
        }

        public void State(StateVisitor s)
        {
            s.U8("IRR", ref _irr);
            s.U8("ISR", ref _isr);
            s.U8("IMR", ref _imr);
            s.U8("lines", ref _lines);
            s.U8("ICW1", ref _icw1);
            s.U8("ICW2", ref _vectorBase);
            s.U8("ICW3", ref _icw3);
            s.U8("ICW4", ref _icw4);
            s.I32("step", ref _step, 0, 4);
            s.I32("lowest", ref _lowest, 0, 7);
            s.Bool("initialised", ref _initialised);
            s.Bool("special-mask", ref _specialMask);
            s.Bool("rotate-auto-eoi", ref _rotatesOnAutoEoi);
            s.Bool("reads-isr", ref _readsIsr);
            s.Bool("polled", ref _polled);
        }
    }
}
