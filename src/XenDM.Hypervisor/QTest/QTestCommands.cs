using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace XenDM.Hypervisor.QTest;

/// <summary>
/// The commands of the qtest protocol: a line without its end in, one line out. A command that is wrong is answered with ERR or FAIL and changes
/// nothing.
/// </summary>
public sealed class QTestCommands
{
    private const int PieceBytes = 64 << 10;

    private readonly QTestHypervisor _machine;
    private readonly byte[] _piece = new byte[PieceBytes];

    /// <summary>The most that one command moves.</summary>
    private readonly ulong _maxBytes;

    /// <summary>The levels that the client knows, a bit an interrupt.</summary>
    private uint _reported;
    private string? _intercepted;
    private long _target;

    public QTestCommands(QTestHypervisor machine)
    {
        _machine = machine;
        _maxBytes = Math.Min(machine.MemoryBytes, 256 << 20);
    }

    /// <summary>A command moves the time and is not answered yet: <see cref="TryFinishStep"/> goes on with it.</summary>
    public bool IsStepping { get; private set; }

    /// <summary>Another client: it knows of no interrupt yet.</summary>
    public void StartAnew()
    {
        _reported = 0;
        IsStepping = false;
    }

    /// <summary>Whether the client wants to know of a change.</summary>
    public bool Reports(int irq, bool level)
    {
        if (_intercepted is null || (_reported >> irq & 1) != 0 == level) return false;
        _reported ^= 1u << irq;
        return true;
    }

    public static void WriteInterrupt(ArrayBufferWriter<byte> output, int irq, bool level)
    {
        output.Write(level ? "IRQ raise "u8 : "IRQ lower "u8);
        WriteDecimal(output, irq);
        output.Write("\n"u8);
    }

    public void Refuse(ArrayBufferWriter<byte> output, string why) => Line(output, "ERR ", why);

    /// <summary>Carries a command out and writes its answer, unless it <see cref="IsStepping"/>.</summary>
    public void Execute(ReadOnlySpan<byte> line, ArrayBufferWriter<byte> output)
    {
        var words = new Words(line);
        var command = words.Next();
        if (!Ports(command, ref words, output) && !Memory(command, ref words, output) && !Other(command, ref words, output))
            Line(output, "FAIL ", $"Unknown command '{Encoding.Latin1.GetString(command)}'");
    }

    /// <summary>Goes on with a step of the clock.</summary>
    /// <param name="rounds">Moments at most.</param>
    /// <returns>False when there is more to do.</returns>
    public bool TryFinishStep(ArrayBufferWriter<byte> output, int rounds)
    {
        if (!_machine.Advance(_target, rounds)) return false;
        IsStepping = false;
        output.Write("OK "u8);
        WriteDecimal(output, _machine.Now);
        output.Write("\n"u8);
        return true;
    }

    private bool Ports(ReadOnlySpan<byte> command, ref Words words, ArrayBufferWriter<byte> output)
    {
        var size = command is [.., var last] ? last switch { (byte)'b' => 1, (byte)'w' => 2, (byte)'l' => 4, _ => 0 } : 0;
        if (size == 0) return false;
        var name = command[..^1];
        var isRead = name.SequenceEqual("in"u8);
        if (!isRead && !name.SequenceEqual("out"u8)) return false;
        ulong value = 0;
        if (!words.NextNumber(out var port) || port > 0xffff || (!isRead && !words.NextNumber(out value)))
        {
            Line(output, "ERR ", "a port up to 0xffff is needed, and a value for out");
            return true;
        }

        if (isRead)
        {
            value = _machine.ReadPort((ushort)port, size);
            output.Write("OK 0x"u8);
            WriteHex(output, value, 4);
            output.Write("\n"u8);
            return true;
        }

        _machine.WritePort((ushort)port, size, (uint)(value & (uint.MaxValue >> (32 - (8 * size)))));
        Ok(output);
        return true;
    }

    private bool Memory(ReadOnlySpan<byte> command, ref Words words, ArrayBufferWriter<byte> output)
    {
        if (command is [(byte)'r', (byte)'e', (byte)'a', (byte)'d', var readWidth]) return ReadItem(Width(readWidth), ref words, output);
        if (command is [(byte)'w', (byte)'r', (byte)'i', (byte)'t', (byte)'e', var writeWidth]) return WriteItem(Width(writeWidth), ref words, output);
        if (command.SequenceEqual("read"u8)) ReadBytes(ref words, output, base64: false);
        else if (command.SequenceEqual("b64read"u8)) ReadBytes(ref words, output, base64: true);
        else if (command.SequenceEqual("write"u8)) WriteBytes(ref words, output);
        else if (command.SequenceEqual("b64write"u8)) WriteBase64(ref words, output);
        else if (command.SequenceEqual("memset"u8)) Fill(ref words, output);
        else return false;
        return true;
    }

    private static int Width(byte letter) => letter switch { (byte)'b' => 1, (byte)'w' => 2, (byte)'l' => 4, (byte)'q' => 8, _ => 0 };

    private bool ReadItem(int size, ref Words words, ArrayBufferWriter<byte> output)
    {
        if (size == 0) return false;
        if (!words.NextNumber(out var address))
        {
            Line(output, "ERR ", "an address is needed");
            return true;
        }

        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        _machine.ReadMemory(address, bytes[..size]);
        output.Write("OK 0x"u8);
        WriteHex(output, BinaryPrimitives.ReadUInt64LittleEndian(bytes), 16);
        output.Write("\n"u8);
        return true;
    }

    private bool WriteItem(int size, ref Words words, ArrayBufferWriter<byte> output)
    {
        if (size == 0) return false;
        if (!words.NextNumber(out var address) || !words.NextNumber(out var value))
        {
            Line(output, "ERR ", "an address and a value are needed");
            return true;
        }

        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        _machine.WriteMemory(address, bytes[..size]);
        Ok(output);
        return true;
    }

    private bool Range(ref Words words, ArrayBufferWriter<byte> output, bool mayBeEmpty, out ulong address, out ulong length)
    {
        length = 0;
        if (!words.NextNumber(out address) || !words.NextNumber(out length)) Line(output, "ERR ", "an address and a length are needed");
        else if (length > _maxBytes || (length == 0 && !mayBeEmpty)) Line(output, "ERR ", $"the length must be 1 to {_maxBytes}");
        else if (length > 0 && length - 1 > ulong.MaxValue - address) Line(output, "ERR ", "the range passes the end of the address space");
        else return true;
        return false;
    }

    private void ReadBytes(ref Words words, ArrayBufferWriter<byte> output, bool base64)
    {
        if (!Range(ref words, output, mayBeEmpty: false, out var address, out var length)) return;
        if (base64)
        {
            output.Write("OK "u8);
            var whole = ArrayPool<byte>.Shared.Rent((int)length);
            _machine.ReadMemory(address, whole.AsSpan(0, (int)length));
            var text = output.GetSpan(Base64.GetMaxEncodedToUtf8Length((int)length));
            Base64.EncodeToUtf8(whole.AsSpan(0, (int)length), text, out _, out var written);
            output.Advance(written);
            ArrayPool<byte>.Shared.Return(whole);
        }
        else
        {
            output.Write("OK 0x"u8);
            while (length > 0)
            {
                var piece = NextPiece(address, length);
                _machine.ReadMemory(address, piece);
                WriteHexBytes(output, piece);
                address += (ulong)piece.Length;
                length -= (ulong)piece.Length;
            }
        }

        output.Write("\n"u8);
    }

    private void WriteBytes(ref Words words, ArrayBufferWriter<byte> output)
    {
        if (!Range(ref words, output, mayBeEmpty: false, out var address, out var length)) return;
        var digits = words.Next();
        if (digits.Length < 3)
        {
            Line(output, "ERR ", "invalid argument size");
            return;
        }

        // What the digits leave over is zeros; an odd digit at the end counts for nothing.
        digits = digits[2..];
        digits = digits[..(digits.Length & ~1)];
        if (digits.IndexOfAnyExcept(s_hexDigits) >= 0)
        {
            Line(output, "ERR ", "the data must be hexadecimal digits after 0x");
            return;
        }

        while (length > 0)
        {
            var piece = NextPiece(address, length);
            var given = Math.Min(piece.Length, digits.Length / 2);
            for (var i = 0; i < given; i++) piece[i] = (byte)((HexDigit(digits[2 * i]) << 4) | HexDigit(digits[(2 * i) + 1]));
            piece[given..].Clear();
            digits = digits[(given * 2)..];
            _machine.WriteMemory(address, piece);
            address += (ulong)piece.Length;
            length -= (ulong)piece.Length;
        }

        Ok(output);
    }

    private static readonly SearchValues<byte> s_hexDigits = SearchValues.Create("0123456789abcdefABCDEF"u8);

    private void WriteBase64(ref Words words, ArrayBufferWriter<byte> output)
    {
        if (!Range(ref words, output, mayBeEmpty: true, out var address, out var length)) return;
        var text = words.Next();
        var data = ArrayPool<byte>.Shared.Rent(Base64.GetMaxDecodedFromUtf8Length(text.Length));
        if (Base64.DecodeFromUtf8(text, data, out _, out var count) == OperationStatus.Done)
        {
            _machine.WriteMemory(address, data.AsSpan(0, (int)Math.Min((ulong)count, length)));
            Ok(output);
        }
        else
        {
            Line(output, "ERR ", "the data is not base64");
        }

        ArrayPool<byte>.Shared.Return(data);
    }

    private void Fill(ref Words words, ArrayBufferWriter<byte> output)
    {
        if (!Range(ref words, output, mayBeEmpty: true, out var address, out var length)) return;
        if (!words.NextNumber(out var value))
        {
            Line(output, "ERR ", "a value is needed");
            return;
        }

        while (length > 0)
        {
            var piece = NextPiece(address, length);
            piece.Fill((byte)value);
            _machine.WriteMemory(address, piece);
            address += (ulong)piece.Length;
            length -= (ulong)piece.Length;
        }

        Ok(output);
    }

    /// <summary>Pieces end at multiples of their size, so that no aligned access of a chip is torn.</summary>
    private Span<byte> NextPiece(ulong address, ulong length) => _piece.AsSpan(0, (int)Math.Min(length, PieceBytes - (address & (PieceBytes - 1))));

    private bool Other(ReadOnlySpan<byte> command, ref Words words, ArrayBufferWriter<byte> output)
    {
        if (command.SequenceEqual("endianness"u8)) output.Write("OK little\n"u8);
        else if (command.SequenceEqual("clock_step"u8)) MoveClock(ref words, output, isStep: true);
        else if (command.SequenceEqual("clock_set"u8)) MoveClock(ref words, output, isStep: false);
        else if (command.SequenceEqual("irq_intercept_in"u8)) Intercept(words.Next(), output);
        else if (command.SequenceEqual("irq_intercept_out"u8)) Line(output, "FAIL ", "Unknown device");
        else if (command.SequenceEqual("set_irq_in"u8)) SetInterrupt(ref words, output);
        else if (command.SequenceEqual("module_load"u8)) Line(output, "FAIL ", "there are no modules");
        else return false;
        return true;
    }

    private void MoveClock(ref Words words, ArrayBufferWriter<byte> output, bool isStep)
    {
        long time = 0;
        var given = words.NextNumber(out var number) && number <= long.MaxValue;
        if (given) time = (long)number;
        else if (!isStep || !words.WasEmpty)
        {
            Line(output, "ERR ", "a time in nanoseconds is needed");
            return;
        }

        if (!isStep) _target = time;
        else if (!given) _target = _machine.NextMoment();
        else _target = time > long.MaxValue - _machine.Now ? long.MaxValue : _machine.Now + time;
        IsStepping = true;
    }

    /// <summary>The path may be cut at its front, as object paths may: the I/O APIC is the device whose inputs can be seen.</summary>
    private void Intercept(ReadOnlySpan<byte> path, ArrayBufferWriter<byte> output)
    {
        if (!IsIoApic(path))
        {
            Line(output, "FAIL ", "Unknown device");
            return;
        }

        _intercepted = "ioapic";
        Ok(output);
    }

    private static bool IsIoApic(ReadOnlySpan<byte> path) => path.SequenceEqual("ioapic"u8) || path.EndsWith("/ioapic"u8);

    private void SetInterrupt(ref Words words, ArrayBufferWriter<byte> output)
    {
        if (!IsIoApic(words.Next()) || !words.Next().SequenceEqual("unnamed-gpio-in"u8)) Line(output, "FAIL ", "Unknown device");
        else if (!words.NextNumber(out var irq) || !words.NextNumber(out var level) || !_machine.Wires.SetByClient(irq, level != 0)) Line(output, "ERR ", "an input and a level are needed");
        else Ok(output);
    }

    private static void Ok(ArrayBufferWriter<byte> output) => output.Write("OK\n"u8);

    private static void Line(ArrayBufferWriter<byte> output, string status, string text)
    {
        Encoding.Latin1.GetBytes(status, output);
        Encoding.Latin1.GetBytes(text, output);
        output.Write("\n"u8);
    }

    private static void WriteDecimal(ArrayBufferWriter<byte> output, long value)
    {
        value.TryFormat(output.GetSpan(20), out var count, default, CultureInfo.InvariantCulture);
        output.Advance(count);
    }

    /// <param name="digits">At least so many.</param>
    private static void WriteHex(ArrayBufferWriter<byte> output, ulong value, int digits)
    {
        value.TryFormat(output.GetSpan(16), out var count, digits == 4 ? "x4" : "x16", CultureInfo.InvariantCulture);
        output.Advance(count);
    }

    private static void WriteHexBytes(ArrayBufferWriter<byte> output, ReadOnlySpan<byte> data)
    {
        var text = output.GetSpan(data.Length * 2);
        for (var i = 0; i < data.Length; i++)
        {
            text[2 * i] = "0123456789abcdef"u8[data[i] >> 4];
            text[(2 * i) + 1] = "0123456789abcdef"u8[data[i] & 15];
        }

        output.Advance(data.Length * 2);
    }

    private static int HexDigit(byte digit) => digit <= (byte)'9' ? digit - '0' : (digit & 0x0f) + 9;

    /// <summary>The words of a line, split at single spaces: two in a row have an empty word between them.</summary>
    private ref struct Words(ReadOnlySpan<byte> line)
    {
        private ReadOnlySpan<byte> _rest = line;
        private bool _isAtEnd;

        /// <summary>The last word was empty, or not there.</summary>
        public bool WasEmpty { get; private set; }

        public ReadOnlySpan<byte> Next()
        {
            if (_isAtEnd)
            {
                WasEmpty = true;
                return [];
            }

            var space = _rest.IndexOf((byte)' ');
            var word = space < 0 ? _rest : _rest[..space];
            if (space < 0) _isAtEnd = true;
            else _rest = _rest[(space + 1)..];
            WasEmpty = word.IsEmpty;
            return word;
        }

        /// <summary>A number as C writes it: decimal, hexadecimal after 0x, octal after 0.</summary>
        public bool NextNumber(out ulong value)
        {
            var word = Next();
            value = 0;
            if (word is [(byte)'0', (byte)'x' or (byte)'X', .. var hex]) return ulong.TryParse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
            if (word is not [(byte)'0', .. var octal] || octal.IsEmpty) return ulong.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out value);
            foreach (var digit in octal)
            {
                if (digit is < (byte)'0' or > (byte)'7' || value > ulong.MaxValue >> 3) return false;
                value = (value << 3) | (uint)(digit - '0');
            }

            return true;
        }
    }
}
