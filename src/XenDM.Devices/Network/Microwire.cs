using XenDM.Core.State;

namespace XenDM.Devices.Network;

/// <summary>
/// A Microwire EEPROM of 16-bit words (93C46 with 64 words, 93C56 and 93C66 with 256), driven pin by pin. Data sheet: National
/// Semiconductor NM93C46, "Instruction set for the NM93C46". A frame is a start bit, two bits of opcode, the address, and 16 bits of data.
/// Deviations: a write is done when the chip select falls, without the 10 ms that the cell takes, so that DO shows ready at once.
/// </summary>
internal sealed class Microwire : IStateful
{
    private const int OpExtended = 0;
    private const int OpWrite = 1;
    private const int OpRead = 2;
    private const int OpErase = 3;
    private const int DataBits = 16;
    private const int OpcodeBits = 2;

    private enum Phase : byte
    {
        WaitStart,
        Command,
        Output,
        Input,
        Ready,
    }

    [Glue("fixed by the chip")]
    private readonly int _addressBits;
    private readonly byte[] _cells;
    private Phase _phase;
    private bool _select;
    private bool _clock;
    private bool _writeEnabled;
    private bool _programs;
    private int _bits;
    private ushort _shift;
    private ushort _command;

    /// <param name="words">64 or 256.</param>
    public Microwire(int words)
    {
        _addressBits = System.Numerics.BitOperations.Log2((uint)words);
        _cells = new byte[words * 2];
    }

    /// <summary>Level of the pin DO.</summary>
    public bool Out { get; private set; } = true;

    public int Words => _cells.Length / 2;

    public ushort this[int word]
    {
        get => (ushort)(_cells[word * 2] | (_cells[(word * 2) + 1] << 8));
        set
        {
            _cells[word * 2] = (byte)value;
            _cells[(word * 2) + 1] = (byte)(value >> 8);
        }
    }

    /// <summary>Sets the levels of the pins CS, SK and DI. Bits are taken, and given, when SK rises.</summary>
    public void Drive(bool select, bool clock, bool data)
    {
        if (!select)
        {
            if (_select) Deselect();
        }
        else if (!_select)
        {
            _phase = Phase.WaitStart;
            _select = true;
            Out = true;
        }
        else if (clock && !_clock)
        {
            Clock(data);
        }

        _clock = clock;
    }

    private void Clock(bool data)
    {
        switch (_phase)
        {
            case Phase.WaitStart:
                if (!data) break;
                _phase = Phase.Command;
                _bits = 0;
                _shift = 0;
                break;
            case Phase.Command:
                _shift = (ushort)((_shift << 1) | (data ? 1 : 0));
                if (++_bits == OpcodeBits + _addressBits) Decode();
                break;
            case Phase.Output:
                // The next word follows without a new command.
                Out = (_shift & 0x8000) != 0;
                _shift <<= 1;
                if (--_bits > 0) break;
                _command = (ushort)((_command & ~AddressMask) | ((_command + 1) & AddressMask));
                _shift = this[_command & AddressMask];
                _bits = DataBits;
                break;
            case Phase.Input:
                _shift = (ushort)((_shift << 1) | (data ? 1 : 0));
                if (--_bits > 0) break;
                _programs = true;
                _phase = Phase.Ready;
                break;
        }
    }

    private int AddressMask => Words - 1;

    private int Opcode => (_command >> _addressBits) & 3;

    /// <summary>The upper two bits of the address of an extended command.</summary>
    private int Extended => (_command >> (_addressBits - 2)) & 3;

    private void Decode()
    {
        _command = _shift;
        switch (Opcode)
        {
            case OpRead:
                // A dummy 0 goes before the data.
                Out = false;
                _shift = this[_command & AddressMask];
                _bits = DataBits;
                _phase = Phase.Output;
                break;
            case OpWrite:
            case OpExtended when Extended == 1:
                _shift = 0;
                _bits = DataBits;
                _phase = Phase.Input;
                break;
            default:
                _programs = Opcode == OpErase || Extended == 2;
                if (Opcode == OpExtended && Extended is 0 or 3 && !_programs) _writeEnabled = Extended == 3;
                _phase = Phase.Ready;
                break;
        }
    }

    /// <summary>The end of a frame starts what it asks for.</summary>
    private void Deselect()
    {
        _select = false;
        Out = true;
        if (_programs && _writeEnabled)
        {
            var value = Opcode == OpWrite || (Opcode == OpExtended && Extended == 1) ? _shift : (ushort)0xffff;
            if (Opcode != OpExtended) this[_command & AddressMask] = value;
            else
                for (var i = 0; i < Words; i++) this[i] = value;
        }

        _programs = false;
        _phase = Phase.WaitStart;
    }

    /// <summary>Power on; the cells keep what they hold.</summary>
    public void Reset()
    {
        _phase = Phase.WaitStart;
        _select = _clock = _writeEnabled = _programs = false;
        _bits = 0;
        _shift = _command = 0;
        Out = true;
    }

    public void State(StateVisitor s)
    {
        var output = Out;
        s.Bytes("cells", _cells);
        s.Enum("phase", ref _phase);
        s.Bool("select", ref _select);
        s.Bool("clock", ref _clock);
        s.Bool("out", ref output);
        s.Bool("write-enabled", ref _writeEnabled);
        s.Bool("programs", ref _programs);
        s.I32("bits", ref _bits, 0, 32);
        s.U16("shift", ref _shift);
        s.U16("command", ref _command);
        Out = output;
    }
}
