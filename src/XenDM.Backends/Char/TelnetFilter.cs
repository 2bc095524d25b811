using System;
using XenDM.Core.Backends;

namespace XenDM.Backends.Char;

/// <summary>
/// Takes telnet's commands (RFC 854) out of what a client sends, and doubles the escape byte in what it gets. No option is negotiated beyond
/// what <see cref="Greeting"/> announces: character mode, eight bits.
/// </summary>
internal sealed class TelnetFilter : ICharFrontend
{
    private const byte Iac = 255, Dont = 254, Will = 251, SubBegin = 250, Break = 243, SubEnd = 240;
    private readonly ICharFrontend _frontend;
    private byte[] _decoded = new byte[4096];
    private State _state;
    private bool _owesEscape;

    public TelnetFilter(ICharFrontend frontend) => _frontend = frontend;

    private enum State
    {
        Data,
        Command,
        Option,
        SubOption,
        SubOptionCommand,
    }

    /// <summary>WILL ECHO, WILL SUPPRESS-GO-AHEAD, WILL BINARY, DO BINARY.</summary>
    public static ReadOnlySpan<byte> Greeting => [Iac, Will, 1, Iac, Will, 3, Iac, Will, 0, Iac, 253, 0];

    public int ReceiveRoom => _frontend.ReceiveRoom;

    public void Receive(ReadOnlySpan<byte> data)
    {
        if (_decoded.Length < data.Length) _decoded = new byte[data.Length];
        var count = 0;
        foreach (var b in data)
            if (IsData(b)) _decoded[count++] = b;
        if (count > 0) _frontend.Receive(_decoded.AsSpan(0, count));
    }

    public void Event(CharEvent e) => _frontend.Event(e);

    public void WriteReady() => _frontend.WriteReady();

    /// <summary>Sends data with its escape bytes doubled.</summary>
    /// <returns>Bytes of <paramref name="data"/> taken.</returns>
    public int Write(FdStream stream, ReadOnlySpan<byte> data)
    {
        if (_owesEscape && stream.Write([Iac]) == 0) return 0;
        _owesEscape = false;
        var done = 0;
        while (done < data.Length)
        {
            var escape = data[done..].IndexOf(Iac);
            var plain = escape < 0 ? data[done..] : data.Slice(done, escape);
            var taken = plain.IsEmpty ? 0 : stream.Write(plain);
            done += taken;
            if (taken < plain.Length || escape < 0) return done;
            taken = stream.Write([Iac, Iac]);
            if (taken == 0) return done;
            done++;
            _owesEscape = taken == 1;
            if (_owesEscape) return done;
        }

        return done;
    }

    private bool IsData(byte b)
    {
        switch (_state)
        {
            case State.Data:
                if (b != Iac) return true;
                _state = State.Command;
                return false;

            case State.Command:
                _state = b switch { >= Will and <= Dont => State.Option, SubBegin => State.SubOption, _ => State.Data };
                if (b == Break) _frontend.Event(CharEvent.Break);
                return b == Iac;

            case State.Option:
                _state = State.Data;
                return false;

            case State.SubOption:
                if (b == Iac) _state = State.SubOptionCommand;
                return false;

            default:
                _state = b == SubEnd ? State.Data : State.SubOption;
                return false;
        }
    }
}
