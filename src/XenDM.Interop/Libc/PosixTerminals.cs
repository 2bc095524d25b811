using System;

namespace XenDM.Interop.Libc;

/// <summary>Modem lines as the TIOCM* ioctls number them.</summary>
[Flags]
public enum ModemLines
{
    None = 0,
    Dtr = 0x002,
    Rts = 0x004,
    Cts = 0x020,
    CarrierDetect = 0x040,
    Ring = 0x080,
    Dsr = 0x100,
}

public static unsafe partial class Posix
{
    private const int TerminalSetNow = 0;
    private const uint IoctlWindowSize = 0x5413;
    private const uint IoctlModemGet = 0x5415;
    private const uint IoctlModemSet = 0x5418;
    private const uint IoctlBreakOn = 0x5427;
    private const uint IoctlBreakOff = 0x5428;

    // bits/termios-c_cflag.h, x86
    private const uint ControlSizeMask = 0x30;
    private const uint ControlTwoStopBits = 0x40;
    private const uint ControlReceiver = 0x80;
    private const uint ControlParity = 0x100;
    private const uint ControlParityOdd = 0x200;
    private const uint ControlLocal = 0x800;
    private const uint ControlHardwareFlow = 0x80000000;

    private const uint OutputProcessing = 0x1;
    private const uint LocalSignals = 0x1;

    /// <summary>The rates that termios has constants for: rate and B* value.</summary>
    private static readonly (int Rate, uint Code)[] s_speeds =
    [
        (50, 1), (75, 2), (110, 3), (134, 4), (150, 5), (200, 6), (300, 7), (600, 8), (1200, 9), (1800, 10), (2400, 11), (4800, 12), (9600, 13),
        (19200, 14), (38400, 15), (57600, 0x1001), (115200, 0x1002), (230400, 0x1003), (460800, 0x1004), (921600, 0x1007), (1000000, 0x1008),
        (1500000, 0x100a), (2000000, 0x100b), (3000000, 0x100d), (4000000, 0x100f),
    ];

    /// <summary>Opens a new pseudo terminal, raw on both sides.</summary>
    /// <param name="slavePath">What a console program opens, e.g. /dev/pts/3.</param>
    /// <returns>The master's descriptor (close-on-exec), or the negative errno.</returns>
    public static int OpenPty(out string slavePath)
    {
        slavePath = "";
        var master = (int)Result(LibC.posix_openpt((int)(OpenFlags.ReadWrite | OpenFlags.NoControllingTerminal) | OpenCloseOnExec));
        if (master < 0) return master;
        var name = stackalloc byte[128];
        var result = (int)Result(LibC.grantpt(master));
        if (result >= 0) result = (int)Result(LibC.unlockpt(master));
        if (result >= 0) result = -LibC.ptsname_r(master, name, 128);

        // The settings belong to the pair; setting them through the master spares opening the slave.
        if (result >= 0) result = SetRaw(master);
        if (result < 0)
        {
            Close(master);
            return result;
        }

        slavePath = Utf8.FromZ(name);
        return master;
    }

    /// <summary>Switches a terminal to raw: no echo, no line editing, no signals, 8 bits.</summary>
    public static int SetRaw(int fd)
    {
        Termios settings;
        var result = (int)Result(LibC.tcgetattr(fd, &settings));
        if (result < 0) return result;
        LibC.cfmakeraw(&settings);
        return (int)Result(LibC.tcsetattr(fd, TerminalSetNow, &settings));
    }

    /// <summary>
    /// Switches a person's terminal to single characters: no echo, no line editing. Output is still processed, so that lines of other writers
    /// begin at the left.
    /// </summary>
    /// <param name="signals">Ctrl-C and its like still raise signals.</param>
    public static int SetCharacterMode(int fd, bool signals)
    {
        Termios settings;
        var result = (int)Result(LibC.tcgetattr(fd, &settings));
        if (result < 0) return result;
        LibC.cfmakeraw(&settings);
        settings.OutputFlags |= OutputProcessing;
        if (signals) settings.LocalFlags |= LocalSignals;
        return (int)Result(LibC.tcsetattr(fd, TerminalSetNow, &settings));
    }

    /// <summary>Size of a terminal in characters.</summary>
    /// <returns>0, or the negative errno (-ENOTTY when it is no terminal).</returns>
    public static int GetTerminalSize(int fd, out int columns, out int rows)
    {
        // struct winsize: rows, columns, and two sizes in pixels.
        var size = stackalloc ushort[4];
        var result = (int)Result(LibC.ioctl(fd, IoctlWindowSize, size));
        (columns, rows) = result < 0 ? (0, 0) : (size[1], size[0]);
        return result;
    }

    /// <summary>A snapshot of a terminal's settings, to be put back on exit by <see cref="RestoreTerminal"/>; null when it is no terminal.</summary>
    public static byte[]? SaveTerminal(int fd)
    {
        Termios settings;
        return LibC.tcgetattr(fd, &settings) < 0 ? null : new ReadOnlySpan<byte>(&settings, sizeof(Termios)).ToArray();
    }

    public static int RestoreTerminal(int fd, byte[] saved)
    {
        if (saved.Length != sizeof(Termios)) return -Errno.EINVAL;
        fixed (byte* p = saved) return (int)Result(LibC.tcsetattr(fd, TerminalSetNow, (Termios*)p));
    }

    /// <summary>Sets a serial line raw with the guest's line settings. A rate that termios does not know takes the nearest one.</summary>
    /// <param name="baud">Bits a second.</param>
    /// <param name="dataBits">5 to 8.</param>
    /// <param name="parity">'N', 'E' or 'O'.</param>
    /// <param name="stopBits">1 or 2.</param>
    public static int SetSerialLine(int fd, int baud, int dataBits, char parity, int stopBits)
    {
        Termios settings;
        var result = (int)Result(LibC.tcgetattr(fd, &settings));
        if (result < 0) return result;
        LibC.cfmakeraw(&settings);
        var control = settings.ControlFlags & ~(ControlSizeMask | ControlTwoStopBits | ControlParity | ControlParityOdd | ControlHardwareFlow);
        control |= (uint)(Math.Clamp(dataBits, 5, 8) - 5) << 4;
        if (parity != 'N') control |= ControlParity;
        if (parity == 'O') control |= ControlParityOdd;
        if (stopBits == 2) control |= ControlTwoStopBits;
        settings.ControlFlags = control | ControlReceiver | ControlLocal;
        LibC.cfsetspeed(&settings, NearestSpeed(baud));
        return (int)Result(LibC.tcsetattr(fd, TerminalSetNow, &settings));
    }

    /// <summary>Modem lines of a serial device; -ENOTTY or -EINVAL for other terminals.</summary>
    public static int GetModemLines(int fd, out ModemLines lines)
    {
        int value = 0;
        var result = (int)Result(LibC.ioctl(fd, IoctlModemGet, &value));
        lines = (ModemLines)value;
        return result;
    }

    /// <summary>Sets the output lines (<see cref="ModemLines.Dtr"/>, <see cref="ModemLines.Rts"/>).</summary>
    public static int SetModemLines(int fd, ModemLines lines)
    {
        var value = (int)lines;
        return (int)Result(LibC.ioctl(fd, IoctlModemSet, &value));
    }

    /// <summary>Starts or ends a break on a serial line.</summary>
    public static int SetBreak(int fd, bool on) => (int)Result(LibC.ioctl(fd, on ? IoctlBreakOn : IoctlBreakOff, null));

    private static uint NearestSpeed(int baud)
    {
        var best = s_speeds[0];
        foreach (var speed in s_speeds)
            if (Math.Abs((long)speed.Rate - baud) < Math.Abs((long)best.Rate - baud)) best = speed;
        return best.Code;
    }
}
